use std::{
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    process::exit,
    thread::{sleep, spawn},
    time::Duration,
};

use clarion_envtest::Process;

use crate::{Error, Space, space::this_program};

/// As the first argument: answer every connection to port 80 with the second, the name of the node.
pub(crate) const LISTEN: &str = "@listen";
/// As the first argument: connect to the second, an address, as often as the third says, and print each answer.
const CONNECT: &str = "@connect";
/// The port that all Services of the network have.
const PORT: u16 = 80;
/// A connection for which nobody answers in that time is lost.
const LOST: Duration = Duration::from_secs(3);
/// Between two connections of steady traffic.
const PAUSE: Duration = Duration::from_millis(20);

/// If this process is to listen or to connect, does so and ends.
pub(crate) fn helper() -> Result<(), Error> {
    let arguments: Vec<_> = env::args().skip(1).take(3).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [LISTEN, name] => {
            let listener = TcpListener::bind(("::", PORT))?;
            for stream in listener.incoming() {
                let (mut stream, name) = (stream?, (*name).to_owned());
                spawn(move || {
                    let _ = stream.write_all(name.as_bytes());
                    // Whoever sends a request, as curl does, is not to lose the answer: closing a connection on which
                    // something was left unread resets it.
                    let _ = stream.shutdown(Shutdown::Write);
                    let _ = stream.set_read_timeout(Some(LOST));
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                });
            }
            exit(0)
        }
        [CONNECT, address, times] => {
            let address: IpAddr = address.parse().map_err(|_| Error::Missing(format!("{address} is no address")))?;
            let times: usize = times.parse().unwrap_or(usize::MAX);
            for _ in 0..times {
                match connect(SocketAddr::new(address, PORT)) {
                    Ok(name) => println!("{name}"),
                    Err(error) => println!("{LOSS}{error}"),
                }
                if times == usize::MAX {
                    sleep(PAUSE);
                }
            }
            exit(0)
        }
        _ => Ok(()),
    }
}

/// How the line of a connection that came to nothing begins.
const LOSS: &str = "lost: ";

fn connect(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LOST)?;
    stream.set_read_timeout(Some(LOST))?;
    let mut name = String::new();
    stream.read_to_string(&mut name)?;
    if name.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(name) }
}

/// Somebody who uses Services.
#[derive(Debug)]
pub struct Client {
    /// The machine.
    pub space: Space,
}

impl Client {
    /// Connects so often, and returns the name of the node that answered each time, or why none did.
    ///
    /// # Errors
    /// If the client can't run.
    pub fn connect(&self, address: IpAddr, times: usize) -> Result<Vec<Result<String, String>>, Error> {
        let program = this_program();
        let printed = self.space.run(&[&program, CONNECT, &address.to_string(), &times.to_string()])?;
        Ok(answers(&printed))
    }

    /// Connects again and again, until the result is dropped.
    ///
    /// # Errors
    /// If the client can't run.
    pub fn traffic(&self, address: IpAddr) -> Result<Traffic, Error> {
        let none: [(&str, &str); 0] = [];
        let name = format!("traffic-{address}");
        let _ = std::fs::remove_file(self.space.directory().join(format!("{name}.log")));
        let arguments = [CONNECT.to_owned(), address.to_string(), "forever".to_owned()];
        Ok(Traffic(self.space.spawn(&name, this_program(), arguments, none)?))
    }
}

/// Steady traffic to one address: a new connection every 20 ms.
#[derive(Debug)]
pub struct Traffic(Process);

impl Traffic {
    /// What came of each connection so far.
    #[must_use]
    pub fn answers(&self) -> Vec<Result<String, String>> {
        answers(&self.0.log())
    }

    /// The connections so far that came to nothing.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.answers().into_iter().filter_map(Result::err).collect()
    }
}

fn answers(lines: &str) -> Vec<Result<String, String>> {
    let answer = |line: &str| match line.strip_prefix(LOSS) {
        Some(why) => Err(why.to_owned()),
        None => Ok(line.to_owned()),
    };
    lines.lines().map(answer).collect()
}
