// A small pool in the shape that the installer looks for. It answers lines, it does not mine.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	cfg, err := loadConfig(*listen)
	if err != nil {
		fatal("config", err)
	}
	metrics := &PoolMetrics{}
	registry := NewMinerRegistry()
	var reconnectLimiter *reconnectTracker
	if cfg.ReconnectLimit > 0 {
		reconnectLimiter = newReconnectTracker(cfg.ReconnectLimit)
	}
	statusServer := NewStatusServer(cfg)

	var payoutScript []byte
	jobMgr := NewJobManager(cfg, metrics, payoutScript)
	jobMgr.Start(ctx)

	ln, err := net.Listen("tcp", cfg.ListenAddr)
	if err != nil {
		fatal("listen", err)
	}
	fmt.Println("listening", ln.Addr())

	var connWg sync.WaitGroup
	go func() {
		<-ctx.Done()
		_ = ln.Close()
	}()

	serveStratum := func(label string, l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			curCfg := statusServer.Config()
			if reconnectLimiter != nil && !reconnectLimiter.allow(conn.RemoteAddr().String()) {
				_ = conn.Close()
				continue
			}
			if curCfg.MaxConns > 0 && registry.Count() >= curCfg.MaxConns {
				_ = conn.Close()
				continue
			}
			mc := NewMinerConn(ctx, conn, jobMgr, curCfg, metrics, label == "tls")
			registry.Add(mc)
			connWg.Add(1)
			go func(mc *MinerConn) {
				defer connWg.Done()
				defer registry.Remove(mc)
				mc.handle()
			}(mc)
		}
	}

	var tlsLn net.Listener
	if tlsLn != nil {
		go serveStratum("tls", tlsLn)
	}
	// The plain listener runs here.
	serveStratum("tcp", ln)

	for _, mc := range registry.Snapshot() {
		mc.Close("shutdown")
	}
	connWg.Wait()
	fmt.Println("stopped")
}
