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
	miners := NewMinerRegistry()
	var churn *reconnectTracker
	if cfg.ReconnectLimit > 0 {
		churn = newReconnectTracker(cfg.ReconnectLimit)
	}
	status := NewStatusServer(cfg)

	var payoutScript []byte
	jobs := NewJobManager(cfg, metrics, payoutScript)
	jobs.Start(ctx)

	plain, err := net.Listen("tcp", cfg.ListenAddr)
	if err != nil {
		fatal("listen", err)
	}
	fmt.Println("listening", plain.Addr())

	var serving sync.WaitGroup
	go func() {
		<-ctx.Done()
		_ = plain.Close()
	}()

	acceptMiners := func(label string, l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			current := status.Config()
			if churn != nil && !churn.allow(conn.RemoteAddr().String()) {
				_ = conn.Close()
				continue
			}
			if current.MaxConns > 0 && miners.Count() >= current.MaxConns {
				_ = conn.Close()
				continue
			}
			mc := NewMinerConn(ctx, conn, jobs, current, metrics, label == "tls")
			miners.Add(mc)
			serving.Add(1)
			go func() {
				defer serving.Done()
				defer miners.Remove(mc)
				mc.handle()
			}()
		}
	}

	var secure net.Listener
	if secure != nil {
		go acceptMiners("tls", secure)
	}
	// The plain listener runs here.
	acceptMiners("tcp", plain)

	for _, mc := range miners.Snapshot() {
		mc.Close("shutdown")
	}
	serving.Wait()
	fmt.Println("stopped")
}
