//! What the API server said of tokens, for as long as that counts, and whether it may be asked of one more. Time is handed in.

use std::{collections::HashMap, time::Duration};

use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use crate::bucket::Bucket;

/// How long a yes counts. A scrape every 15 s then costs two requests a minute; a right that is taken away counts for so long.
const YES: Duration = Duration::from_secs(60);
/// How long a no counts: a right that is given counts at the next scrape, or the one after.
const NO: Duration = Duration::from_secs(10);
/// Tokens that are asked about a second, and at once.
const RATE: (u32, u32) = (5, 10);
/// Who was let in so recently is asked about whatever [`RATE`] says, so that a flood of other tokens keeps nobody out.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Tokens of which something is remembered. At [`RATE`], wrong ones come to sixty.
const TOKENS: usize = 1_000;

/// What the API server said of a token.
pub type Verdict = Result<(), Denied>;

/// Why the holder of a token may not scrape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such token.
    #[error("the API server does not know this token: it has expired, is cut short, or is of another cluster")]
    WrongToken,
    /// The token's user has no right to metrics.
    #[error("{0} has no right to get /metrics: bind the ClusterRole clarion-metrics-reader to it")]
    NoRight(String),
}

/// A token as it is remembered: nobody can make the token of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenHash(Box<[u8]>);

impl TokenHash {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        Self(digest(&SHA256, token.as_bytes()).as_ref().into())
    }
}

/// What is remembered of tokens.
pub struct Answers {
    tokens: HashMap<TokenHash, Answer>,
    questions: Bucket,
}

struct Answer {
    verdict: Verdict,
    at: Instant,
}

impl Answer {
    fn counts(&self, now: Instant) -> bool {
        now < self.at + if self.verdict.is_ok() { YES } else { NO }
    }

    fn is_remembered(&self, now: Instant) -> bool {
        self.counts(now) || self.verdict.is_ok() && now < self.at + REMEMBERED
    }
}

impl Answers {
    /// Nothing is known yet.
    pub fn new(now: Instant) -> Self {
        Self { tokens: HashMap::new(), questions: Bucket::full(RATE.0, RATE.1, now) }
    }

    /// What was said of a token, if that counts still.
    pub fn known(&self, token: &TokenHash, now: Instant) -> Option<Verdict> {
        let answer = self.tokens.get(token).filter(|answer| answer.counts(now))?;
        Some(answer.verdict.clone())
    }

    /// Whether the API server may be asked about a token now.
    pub fn may_ask(&mut self, token: &TokenHash, now: Instant) -> bool {
        let was_let_in =
            self.tokens.get(token).is_some_and(|answer| answer.verdict.is_ok() && answer.is_remembered(now));
        was_let_in || self.questions.take(now).is_ok()
    }

    /// Remembers what was said.
    pub fn keep(&mut self, token: TokenHash, verdict: Verdict, now: Instant) {
        self.tokens.retain(|_, answer| answer.is_remembered(now));
        if self.tokens.len() < TOKENS || self.tokens.contains_key(&token) {
            self.tokens.insert(token, Answer { verdict, at: now });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(n: usize) -> TokenHash {
        TokenHash::of(&n.to_string())
    }

    #[test]
    fn a_yes_counts_for_a_minute_and_a_no_for_ten_seconds() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        assert_eq!(answers.known(&token(1), start), None);
        answers.keep(token(1), Ok(()), start);
        answers.keep(token(2), Err(Denied::WrongToken), start);
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(answers.known(&token(1), later(59)), Some(Ok(())));
        assert_eq!(answers.known(&token(1), later(60)), None);
        assert_eq!(answers.known(&token(2), later(9)), Some(Err(Denied::WrongToken)));
        assert_eq!(answers.known(&token(2), later(10)), None);
    }

    #[test]
    fn a_flood_of_wrong_tokens_is_asked_about_at_a_bounded_rate_and_keeps_nobody_out() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        let scraper = token(usize::MAX);
        answers.keep(scraper.clone(), Ok(()), start);
        let (mut asked, mut let_in) = (0, 0);
        for tenth in 0..3_000 {
            let now = start + Duration::from_millis(100) * tenth;
            for n in 0..10 {
                let wrong = token(n + 10 * tenth as usize);
                if answers.may_ask(&wrong, now) {
                    asked += 1;
                    answers.keep(wrong, Err(Denied::WrongToken), now);
                }
            }
            if tenth % 150 == 0 {
                let verdict = answers.known(&scraper, now).or_else(|| answers.may_ask(&scraper, now).then_some(Ok(())));
                let_in += usize::from(verdict == Some(Ok(())));
                answers.keep(scraper.clone(), Ok(()), now);
            }
            assert!(answers.tokens.len() < 100, "{}", answers.tokens.len());
        }
        assert!((1_400..=1_510).contains(&asked), "{asked} of 30,000 in five minutes");
        assert_eq!(let_in, 20, "of 20 scrapes");
    }

    #[test]
    fn of_however_many_tokens_that_are_let_in_few_are_remembered() {
        let start = Instant::now();
        let mut answers = Answers::new(start);
        for n in 0..3 * TOKENS {
            answers.keep(token(n), Ok(()), start);
        }
        assert_eq!(answers.tokens.len(), TOKENS);
        answers.keep(token(usize::MAX), Ok(()), start + REMEMBERED);
        assert_eq!(answers.tokens.len(), 1, "they are forgotten in the end");
    }
}
