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

func run() (exitCode int) {
	flag.Parse()
	poolCtx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	conf := Config{ListenAddr: "127.0.0.1:0"}
	miners := NewMinerRegistry()
	var churn *reconnectTracker
	if conf.ReconnectLimit > 0 {
		churn = newReconnectTracker(conf.ReconnectLimit)
	}
	jobs := NewJobManager(nil, conf)
	ln, err := net.Listen("tcp", conf.ListenAddr)
	if err != nil {
		return 1
	}
	fmt.Println("listening", ln.Addr())

	var wg, acceptWg sync.WaitGroup
	go func() {
		<-poolCtx.Done()
		_ = ln.Close()
	}()
	accept := func(label string, l net.Listener) {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if churn != nil && !churn.allow(label) {
				continue
			}
			mc := NewMinerConn(label == "tls", conf, conn, jobs, poolCtx, sharedState)
			miners.Add(mc)
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer miners.Remove(mc)
				mc.handle()
			}()
		}
	}
	if tlsLn := net.Listener(nil); tlsLn != nil {
		acceptWg.Add(1)
		go func() {
			defer acceptWg.Done()
			accept("tls", tlsLn)
		}()
	}

	// Runs until the listener is closed.
	accept("tcp", ln)
	stop()
	acceptWg.Wait()
	wg.Wait()
	fmt.Println("stopped")
	return exitCode
}
