//! Echo on tokio's current-thread runtime: a task for each connection.

use std::io;
use std::net;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

use super::ANSWER;
use super::session::BUFFER;

pub(super) fn serve(listener: net::TcpListener) -> io::Result<()> {
    run(listener, BUFFER)
}

pub(super) fn answer(listener: net::TcpListener) -> io::Result<()> {
    run(listener, ANSWER)
}

fn run(listener: net::TcpListener, piece: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(echo(stream, piece))),
                // Out of descriptors: the others have their turn, and may close some.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
}

/// Each task has a buffer: `read` then needs no second call to see that all was read, unlike `try_read`. What an idle
/// connection never touched of it takes no memory.
async fn echo(mut stream: TcpStream, piece: usize) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        for piece in buffer[..read].chunks(piece) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
    }
}
