//go:build sv2bridge

package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/core"
)

//sv2bridge:needs func (*MinerConn).handle()
//sv2bridge:needs func (*MinerRegistry).Add(*MinerConn)

var sv2bridgeOn = flag.Bool("sv2", false, "speak to the pool through its own door, and say what it says")

// sv2bridgeStart makes a connection as the accept loop would, with a JobManager of its own, and prints
// what it answers. It ends with the pool.
func sv2bridgeStart(ctx context.Context, pool sv2bridgePool) {
	if !*sv2bridgeOn {
		return
	}
	cfg := pool.config()
	cfg.Extranonce2Size = 8
	near, far := net.Pipe()
	mc := pool.newMinerConn(far, pool.newJobManager(cfg), cfg)
	pool.registry.Add(mc)
	pool.connWg.Add(2)
	go func() {
		defer pool.connWg.Done()
		defer pool.registry.Remove(mc)
		mc.handle()
	}()
	fmt.Fprintln(near, core.Greeting)
	answer, err := bufio.NewReader(near).ReadString('\n')
	fmt.Print("sv2bridge: ", answer, err, " ", pool.registry.Count(), " ",
		pool.jobMgr != nil, " ", pool.reconnectLimiter != nil, " ", sv2bridgeHow, "\n")
	go func() {
		defer pool.connWg.Done()
		<-ctx.Done()
		_ = near.Close()
		fmt.Println("sv2bridge: over")
	}()
}
