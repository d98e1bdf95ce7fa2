//! Who may scrape: who shows a token that the API server knows (TokenReview), of a user that may `get` the path `/metrics`
//! (SubjectAccessReview). Other operators ask the same, so whoever scrapes them scrapes this one.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::answers::{Answers, Denied, TokenHash, Verdict};

/// How long the API server may take for both answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tokens that are asked about at the same time.
const IN_FLIGHT: usize = 4;

/// Why a scrape is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It shows no token.
    #[error("a scrape needs the header `Authorization: Bearer TOKEN`, with the token of a ServiceAccount")]
    NoToken,
    /// Its token is of no use.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Others are being asked about.
    #[error("too many tokens are to be checked; try again in a few seconds")]
    Busy,
    /// The API server did not say.
    #[error("the API server can't be asked who this is and what it may do: {0}")]
    NoAnswer(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoToken | Self::Denied(Denied::WrongToken) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::NoRight(_)) => StatusCode::FORBIDDEN,
            Self::Busy | Self::NoAnswer(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let challenge = (status == StatusCode::UNAUTHORIZED).then_some([(header::WWW_AUTHENTICATE, "Bearer")]);
        (status, challenge, format!("{self}\n")).into_response()
    }
}

/// Decides who may scrape.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    client: Client,
    answers: Mutex<Answers>,
    in_flight: Semaphore,
    /// Whether the API server did not answer the last time.
    is_in_vain: AtomicBool,
}

impl Access {
    /// Asks by this client, which must not repeat requests by itself.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Inner {
            client,
            answers: Mutex::new(Answers::new(Instant::now())),
            in_flight: Semaphore::new(IN_FLIGHT),
            is_in_vain: AtomicBool::new(false),
        }))
    }

    /// Whether a request with these headers may scrape.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let token = bearer(headers).ok_or(Refusal::NoToken)?;
        let hash = TokenHash::of(token);
        if let Some(verdict) = self.answers().known(&hash, Instant::now()) {
            return Ok(verdict?);
        }
        let _in_flight = self.0.in_flight.try_acquire().map_err(|_| Refusal::Busy)?;
        if !self.answers().may_ask(&hash, Instant::now()) {
            return Err(Refusal::Busy);
        }
        let verdict = self.ask(token).await?;
        self.answers().keep(hash, verdict.clone(), Instant::now());
        Ok(verdict?)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, token: &str) -> Result<Verdict, Refusal> {
        let answer = match timeout(PATIENCE, review(&self.0.client, token)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        let was_in_vain = self.0.is_in_vain.swap(answer.is_err(), Ordering::Relaxed);
        match &answer {
            Err(error) if !was_in_vain => {
                warn!(error, "scrapes are refused: the API server can't be asked about their tokens")
            }
            Ok(_) if was_in_vain => info!("the API server can be asked about the tokens of scrapes again"),
            _ => {}
        }
        answer.map_err(Refusal::NoAnswer)
    }
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !token.is_empty()).then_some(token)
}

/// What the API server says of a token.
async fn review(client: &Client, token: &str) -> Result<Verdict, kube::Error> {
    let Some(user) = user(client, token).await? else { return Ok(Err(Denied::WrongToken)) };
    let name = user.username.clone().unwrap_or_default();
    let is_allowed = may_scrape(client, user).await?;
    Ok(if is_allowed { Ok(()) } else { Err(Denied::NoRight(name)) })
}

/// Whose token it is.
async fn user(client: &Client, token: &str) -> Result<Option<UserInfo>, kube::Error> {
    let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    let status = Api::all(client.clone()).create(&PostParams::default(), &review).await?.status.unwrap_or_default();
    Ok(status.user.filter(|_| status.authenticated == Some(true)))
}

async fn may_scrape(client: &Client, user: UserInfo) -> Result<bool, kube::Error> {
    let path = NonResourceAttributes { path: Some("/metrics".to_owned()), verb: Some("get".to_owned()) };
    let spec = SubjectAccessReviewSpec {
        user: user.username,
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        non_resource_attributes: Some(path),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let status = Api::all(client.clone()).create(&PostParams::default(), &review).await?.status;
    Ok(status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::time::{advance, sleep};
    use tower::service_fn;

    use super::*;

    /// An API server that knows the tokens `good` and `poor`, of which the first may scrape, and never answers about `slow`.
    fn server() -> (Access, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let service = service_fn(move |request: http::Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            async move {
                let bytes = request.into_body().collect().await?.to_bytes();
                let mut review: Value = serde_json::from_slice(&bytes).unwrap();
                let token = review["spec"]["token"].as_str().map(str::to_owned);
                review["status"] = match token.as_deref() {
                    Some("slow") => std::future::pending().await,
                    Some(known @ ("good" | "poor")) => json!({"authenticated": true, "user": {"username": known}}),
                    Some(_) => json!({"error": "invalid bearer token"}),
                    None => {
                        let path = json!({"path": "/metrics", "verb": "get"});
                        assert_eq!(review["spec"]["nonResourceAttributes"], path);
                        json!({"allowed": review["spec"]["user"] == "good"})
                    }
                };
                Ok::<_, tower::BoxError>(http::Response::new(Body::from(review.to_string().into_bytes())))
            }
        });
        (Access::new(Client::new(service, "default")), asked)
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())])
    }

    async fn status(access: &Access, value: &str) -> u16 {
        access.admit(&headers(value)).await.map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[tokio::test(start_paused = true)]
    async fn each_refusal_has_its_status() {
        let (access, _) = server();
        assert_eq!(access.admit(&HeaderMap::new()).await, Err(Refusal::NoToken));
        for (value, expected) in [
            ("Bearer good", 200),
            ("bearer  good ", 200),
            ("Basic good", 401),
            ("Bearer", 401),
            ("Bearer  ", 401),
            ("Bearer other", 401),
            ("Bearer poor", 403),
            ("Bearer slow", 503),
        ] {
            assert_eq!(status(&access, value).await, expected, "{value}");
        }
        let refusal = access.admit(&headers("Bearer poor")).await.unwrap_err().to_string();
        assert!(refusal.contains("poor") && refusal.contains("clarion-metrics-reader"), "{refusal}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_costs_two_requests_a_minute() {
        let (access, asked) = server();
        for _ in 0..40 {
            assert_eq!(status(&access, "Bearer good").await, 200);
            advance(Duration::from_secs(15)).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2 * 10, "in ten minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_hangs_is_asked_little_and_keeps_who_is_known() {
        let (access, asked) = server();
        assert_eq!(status(&access, "Bearer good").await, 200);
        let before = asked.load(Ordering::Relaxed);
        let hanging: Vec<_> = (0..100)
            .map(|_| {
                let access = access.clone();
                tokio::spawn(async move { status(&access, "Bearer slow").await })
            })
            .collect();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed) - before, IN_FLIGHT);
        assert_eq!(status(&access, "Bearer good").await, 200);
        for task in hanging {
            assert_eq!(task.await.unwrap(), 503);
        }
        assert_eq!(status(&access, "Bearer poor").await, 403, "nothing is left behind");
    }
}
