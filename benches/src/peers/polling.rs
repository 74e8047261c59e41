//! Echo on polling. Its own interface is unsafe, so it is used through async-io, as smol does.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use async_executor::LocalExecutor;
use async_io::{Async, block_on};

use super::session::BUFFER;

pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let listener = Async::new(listener)?;
    let executor = LocalExecutor::new();
    block_on(executor.run(async {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                executor.spawn(echo(stream)).detach();
            }
        }
    }))
}

async fn echo(stream: Async<TcpStream>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = stream.read_with(|mut stream| stream.read(&mut buffer)).await {
        if write_all(&stream, &buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn write_all(stream: &Async<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = stream.write_with(|mut stream| stream.write(bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}
