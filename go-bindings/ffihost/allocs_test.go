//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// quickHost accepts every share at once and unseen, in memory that it uses again, and says how many it was
// given. It has one channel.
type quickHost struct {
	none
	sink     sv2.Sink
	verdicts []sv2.Verdict
	judged   chan int
}

func (q *quickHost) OpenChannel(_ context.Context, r sv2.OpenRequest, sink sv2.Sink) (sv2.Channel, sv2.Opened, error) {
	q.sink = sink
	job := &sv2.Job{ID: 1, NBits: 0x207fffff, Version: 0x20000000, MinNTime: 1_600_000_000,
		CoinbasePrefix: []byte{1}, CoinbaseSuffix: []byte{2}}
	return q, sv2.Opened{Prefix: []byte{1}, ExtranonceSize: 8, Target: r.MaxTarget, Job: job}, nil
}

func (q *quickHost) Submit(batch []sv2.Submit) {
	q.verdicts = q.verdicts[:0]
	for i := range batch {
		q.verdicts = append(q.verdicts, sv2.Verdict{SubmitID: batch[i].ID, Hash: sv2.Hash{1},
			Credit: sv2.Difficulty{Whole: 1}})
	}
	q.sink.Verdicts(q.verdicts)
	q.judged <- len(batch)
}

func (*quickHost) Update(context.Context, sv2.UpdateRequest) error { return nil }
func (*quickHost) Close(string)                                    {}

// From the ring to the host and back, all that a server has: what an echo sends when it is asked for shares,
// so many of them unanswered at a time. A share takes nothing for itself. Hosts own their submits for good:
// those are pieces of slabs of 128, and the bytes in them of 4 KiB. These, and the Pong behind each run, are
// what is counted; one object a batch would be too many.
func TestTakesNoObjectForAShare(t *testing.T) {
	const shares = 8 * maxPoll
	ping, err := proto.Marshal(&sv2pb.SessionResponse{
		Message: &sv2pb.SessionResponse_Ping{Ping: &sv2pb.Ping{Id: shares}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, window := range []int{1, 16, maxPoll} {
		t.Run(fmt.Sprintf("window=%d", window), func(t *testing.T) {
			host := &quickHost{judged: make(chan int, shares)}
			options := Options{Logger: slog.New(slog.DiscardHandler)}
			server, err := newServer(host, options, func() (library, error) { return newEcho(uint32(window)) })
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- server.Serve(context.Background()) }()
			defer func() {
				shutdown(t, server)
				if err := await(t, served); err != nil {
					t.Error(err)
				}
			}()
			eventually(t, "the echo's channel", func() bool {
				if len(server.Sessions()) == 0 {
					return false
				}
				account, err := server.Sessions()[0].GetAccount(t.Context(), nil, nil)
				return err == nil && !account.Frozen
			})
			// A stop of the world is no part of a share, and takes objects of its own.
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			objects := testing.AllocsPerRun(50, func() {
				if err := server.library.control(1, ping); err != nil {
					t.Fatal(err)
				}
				for left := shares; left > 0; {
					left -= <-host.judged
				}
			}) / shares
			t.Logf("%.4f objects a share", objects)
			if objects >= 0.02 {
				t.Errorf("%.4f objects a share", objects)
			}
		})
	}
}
