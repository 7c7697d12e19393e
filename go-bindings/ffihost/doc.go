// Package ffihost runs the Stratum V2 listener inside the pool's own process: a Rust library, linked
// through its C ABI, in the place of a sidecar and package grpchost. The pool is the same [sv2.Host].
//
//	server, err := ffihost.New(host, ffihost.Options{ConfigFile: "listener.toml"})
//	err = server.Start()             // the port is open, or the error says why not
//	err = server.Serve(ctx)          // miners may come; returns after Shutdown, or when ctx ends
//	err = server.Shutdown(ctx)       // miners are told to reconnect, what is in flight is answered
//	err = pool.Close(ctx)            // the host last: until here it may be asked
//
// The program needs cgo, the library, and one of these build tags, which say where that is:
//
//   - sv2_static: the archive that `make lib` puts beside this package;
//   - sv2_system: -lgopool_sv2, wherever the linker looks; CGO_LDFLAGS and CGO_CFLAGS add places;
//   - sv2_pkgconfig: what `make install-lib PREFIX=` installed, found by pkg-config as gopool-sv2.
//
// Without them it compiles all the same, and [New] returns [ErrNoLibrary].
//
// Goroutines and threads: one goroutine waits on the library's descriptor in Go's netpoller and takes
// events in batches; each session has what package session says. The library's threads are its own: they
// run no Go code, and no signal is delivered to them. Nothing is shared but buffers during a call.
//
// A panic inside the library ends the listener, and Serve says so; the process goes on. A fault in it, such
// as a bad pointer, would end the process, which is what a sidecar of its own protects from.
package ffihost
