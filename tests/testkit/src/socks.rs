//! A SOCKS5 proxy (RFC 1928, RFC 1929) that leads every request to one place.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::runtime;

const VERSION: u8 = 5;
const PASSWORD: u8 = 2;
const DOMAIN: u8 = 3;
const REFUSED: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// A proxy that wants a user name and a password.
#[derive(Debug)]
pub struct SocksProxy {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl SocksProxy {
    /// A proxy for this user, behind which there is only this pool.
    pub fn to(pool: SocketAddr, user: &str, password: &str) -> Self {
        let listener = runtime().block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port on loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, login) = (Arc::clone(&asked), (user.to_owned(), password.to_owned()));
        let task = runtime().spawn(async move {
            while let Ok((miner, _)) = listener.accept().await {
                let (log, login) = (Arc::clone(&log), login.clone());
                // A miner that is refused is simply dropped.
                tokio::spawn(async move { drop(serve(miner, pool, &login, &log).await) });
            }
        });
        Self { addr, asked, task }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The places that miners with the right password asked for, as `host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SocksProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut miner: TcpStream,
    pool: SocketAddr,
    login: &(String, String),
    log: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let [version, methods] = read(&mut miner).await?;
    let mut offered = vec![0; usize::from(methods)];
    miner.read_exact(&mut offered).await?;
    if version != VERSION || !offered.contains(&PASSWORD) {
        return miner.write_all(&[VERSION, 0xff]).await;
    }
    miner.write_all(&[VERSION, PASSWORD]).await?;
    let [_] = read(&mut miner).await?;
    let given = (text(&mut miner).await?, text(&mut miner).await?);
    miner.write_all(&[1, u8::from(given != *login)]).await?;
    if given != *login {
        return Err(REFUSED.into());
    }
    let [_, _, _, kind] = read(&mut miner).await?;
    let host = match kind {
        DOMAIN => text(&mut miner).await?,
        1 => Ipv4Addr::from(read::<4>(&mut miner).await?).to_string(),
        _ => return Err(REFUSED.into()),
    };
    let port = u16::from_be_bytes(read(&mut miner).await?);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{host}:{port}"));
    let mut pool = TcpStream::connect(pool).await?;
    miner.write_all(&[VERSION, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    tokio::io::copy_bidirectional(&mut miner, &mut pool).await.map(drop)
}

async fn read<const N: usize>(miner: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    miner.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Reads a text behind its length in one byte.
async fn text(miner: &mut TcpStream) -> io::Result<String> {
    let [length] = read(miner).await?;
    let mut bytes = vec![0; usize::from(length)];
    miner.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}
