// Package grpchost carries an [sv2.Host] over gRPC: the pool serves gopool.sv2.v1.WorkService, the
// sidecar dials it (see proto/gopool/sv2/v1/work.proto).
//
//	server, err := grpchost.New(host, grpchost.Options{Software: "minipool 1.0"})
//	listener, err := grpchost.ListenUnix("/run/pool/sv2.sock", grpchost.UnixOptions{})
//	go func() { served <- server.Serve(context.Background(), listener) }()
//	<-stop.Done()                    // a signal, say
//	err = server.Shutdown(ctx)       // sidecars are told, and what is in flight is answered
//	err = <-served
//	err = pool.Close(ctx)            // the host last: until here it may be asked
//
// A context of Serve that ends breaks all streams at once instead.
//
// [ListenUnix] is for a sidecar on the same machine; for one on another machine there is [ListenTLS],
// where both ends show a certificate.
//
// One stream is one [Session]. Each session has one goroutine that receives, one that sends, and up to
// one per channel while that channel's host is busy; a bounded outbox stands between the host and the
// sender, so that a host never waits for a sidecar. When the outbox is full the session is ended.
//
// What the carrier promises a host, beyond what package sv2 says:
//   - lengths, ids and ranges of everything that arrives were checked;
//   - Submit comes on the receiving goroutine, at once and whatever the channel is busy with, so it must
//     return at once; what was received before a close or the end of the stream comes before Close;
//   - other calls on one Channel come one at a time and in the order the sidecar sent them;
//   - a channel whose host is slow to answer Update or Close holds up no other channel;
//   - when a stream ends, however it ends, every channel of it is closed unless the host kicked it.
package grpchost
