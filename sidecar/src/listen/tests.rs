//! Promises of the listener, on a real socket.

use crate::session::driver_tests::context;

use super::*;

#[tokio::test]
async fn others_run_between_the_connections_of_a_crowd() {
    const CROWD: u64 = 6 * ACCEPTS;
    let listen = Listen {
        address: "127.0.0.1:0".parse().unwrap(),
        max_connections_per_address: 0,
        connections_per_sec: 0,
        connections_per_sec_per_address: 0,
        ..Listen::default()
    };
    let context = context();
    let counts = context.counts.clone();
    let listener = Listener::bind(&listen, None, counts.clone()).await.unwrap();
    let address = listener.address().unwrap();
    // They wait in the kernel's queue.
    let connect = |_| std::net::TcpStream::connect(address).unwrap();
    let crowd: Vec<_> = (0..CROWD).map(connect).collect();
    let (stop, stops) = watch::channel(false);
    let served = tokio::spawn(listener.run(context, stops));
    let mut before = 0;
    while before < CROWD {
        yield_now().await;
        let now = counts.connections.accepted.get();
        assert!(now - before <= ACCEPTS, "{} accepted in one turn", now - before);
        before = now;
    }
    drop(crowd);
    stop.send(true).unwrap();
    served.await.unwrap();
}
