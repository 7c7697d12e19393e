// What a share costs on its way through Stratum V1: mining.submit to the pool's port, and the same behind
// package sv1host. The pool judges in all of them; the journal is off.

package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// benchRig is a pool on which every hash is a share, but one in 65536, and none a block.
func benchRig(b *testing.B) *minipool {
	b.Helper()
	const easiest = "0.00000000023283064365386963" // 2^-32
	settings, err := parseFlags([]string{"-socket", filepath.Join(b.TempDir(), "sock"), "-via-sv1",
		"-sv1", "127.0.0.1:0", "-log-level", "error", "-share-seconds", "0.01",
		"-min-difficulty", easiest, "-max-difficulty", easiest, "-template-seconds", "86400"}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	m, err := start(settings, newLogger(settings, io.Discard))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.stop(patience); err != nil {
			b.Error(err)
		}
	})
	return m
}

// benchMiner submits shares, one after the other.
type benchMiner interface{ shares(b *testing.B, n int) }

// benchShares has miners submit, each its part.
func benchShares(b *testing.B, open func(b *testing.B, m *minipool) benchMiner) {
	for _, count := range []int{1, 16} {
		b.Run(fmt.Sprintf("miners=%d", count), func(b *testing.B) {
			m := benchRig(b)
			miners := make([]benchMiner, count)
			for i := range miners {
				miners[i] = open(b, m)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			for i, miner := range miners {
				all.Go(func() { miner.shares(b, (b.N+i)/count) })
			}
			all.Wait()
			b.StopTimer()
		})
	}
}

// rawMiner writes lines and reads answers, without looking at what they say but whether they say yes.
type rawMiner struct {
	conn  net.Conn
	lines *bufio.Reader
	user  string
	job   string
}

func (r *rawMiner) shares(b *testing.B, n int) {
	for i := range n {
		fmt.Fprintf(r.conn, `{"id":%d,"method":"mining.submit","params":[%q,%q,%q,%q,"00000000"]}`+"\n",
			i+10, r.user, r.job[:16], hex.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(i))),
			r.job[16:])
		line, err := r.lines.ReadString('\n')
		if want := fmt.Sprintf(`{"id":%d,"result":true,"error":null}`+"\n", i+10); line != want &&
			!strings.Contains(line, sv2.RejectLowDifficulty.String()) {
			b.Errorf("share %d: %s, %v", i, line, err)
			return
		}
	}
}

// openRaw sets up a Stratum V1 connection.
func openRaw(b *testing.B, conn net.Conn) *rawMiner {
	b.Cleanup(func() { _ = conn.Close() })
	r := &rawMiner{conn: conn, lines: bufio.NewReader(conn), user: payoutAddress(b)}
	go fmt.Fprintf(conn, `{"id":1,"method":"mining.subscribe","params":[]}`+"\n"+
		`{"id":2,"method":"mining.authorize","params":[%q,"x"]}`+"\n", r.user)
	for r.job == "" {
		line, err := r.lines.ReadBytes('\n')
		var m sv1Message
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			b.Fatal(err)
		}
		if m.Method == "mining.notify" {
			var id, ntime string
			_ = json.Unmarshal(m.Params[0], &id)
			_ = json.Unmarshal(m.Params[7], &ntime)
			number, _ := new(big.Int).SetString(id, 16)
			r.job = fmt.Sprintf("%016x", number) + ntime
		}
	}
	return r
}

func BenchmarkShareOverStratumV1TCP(b *testing.B) {
	benchShares(b, func(b *testing.B, m *minipool) benchMiner {
		conn, err := net.Dial("tcp", m.sv1.listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		return openRaw(b, conn)
	})
}

func BenchmarkShareOverStratumV1Pipe(b *testing.B) {
	benchShares(b, func(b *testing.B, m *minipool) benchMiner {
		ours, theirs := net.Pipe()
		go m.sv1.port.ServeConn(b.Context(), theirs)
		return openRaw(b, ours)
	})
}

// hostMiner waits for each verdict.
type hostMiner struct {
	channel  sv2.Channel
	job      *sv2.Job
	verdicts chan sv2.Verdict
}

func (h *hostMiner) Job(*sv2.Job)                {}
func (h *hostMiner) Target(sv2.Target)           {}
func (h *hostMiner) BlockResult(sv2.BlockResult) {}
func (h *hostMiner) Kick(sv2.Kick)               {}
func (h *hostMiner) Verdicts(verdicts []sv2.Verdict) {
	for _, verdict := range verdicts {
		h.verdicts <- verdict
	}
}

func (h *hostMiner) shares(b *testing.B, n int) {
	for i := range n {
		h.channel.Submit([]sv2.Submit{{ID: uint64(i) + 1, JobID: h.job.ID, NTime: h.job.MinNTime,
			Version: h.job.Version, Extranonce: binary.BigEndian.AppendUint64(nil, uint64(i))}})
		if verdict := <-h.verdicts; !verdict.Accepted() &&
			verdict.Reason != sv2.RejectLowDifficulty {
			b.Errorf("share %d: %+v", i, verdict)
			return
		}
	}
}

func benchHost(b *testing.B, host func(m *minipool) sv2.Host) {
	benchShares(b, func(b *testing.B, m *minipool) benchMiner {
		h := &hostMiner{verdicts: make(chan sv2.Verdict, 16)}
		channel, opened, err := host(m).OpenChannel(b.Context(), sv2.OpenRequest{Kind: sv2.Extended,
			UserIdentity: []byte(payoutAddress(b)), MaxTarget: sv2.MaxTarget}, h)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { channel.Close("the benchmark is over") })
		h.channel, h.job = channel, opened.Job
		return h
	})
}

func BenchmarkShareOverSV1Host(b *testing.B) {
	benchHost(b, func(m *minipool) sv2.Host { return m.sv1.host })
}

func BenchmarkShareOverPool(b *testing.B) {
	benchHost(b, func(m *minipool) sv2.Host { return m.pool })
}
