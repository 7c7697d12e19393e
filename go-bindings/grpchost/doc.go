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
// Shares and verdicts are read and written here, in memory that is used again; all other messages by the
// generated code.
//
// What goes over the streams, and what a host and a sidecar may count on when one breaks, is in package
// session.
package grpchost
