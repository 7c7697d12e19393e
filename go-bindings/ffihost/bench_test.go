//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// benchmarked is how many events are asked for at once: half of what the ring holds.
const benchmarked = 8 * maxPoll

// welcomedEcho is an echo with an open stream, which is 1, and nothing left to poll.
func welcomedEcho(b *testing.B) library {
	b.Helper()
	echo, err := newEcho(2 * benchmarked)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = echo.free() })
	if err := echo.start(); err != nil {
		b.Fatal(err)
	}
	say(b, echo, &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Welcome{Welcome: &sv2pb.Welcome{
		Protocol: 1, Epoch: make([]byte, 16), EasiestTarget: append(make([]byte, 31), 1),
		VerdictRing: 2 * benchmarked}}})
	drop(b, echo)
	return echo
}

func say(b *testing.B, l library, message *sv2pb.SessionResponse) {
	b.Helper()
	encoded, err := proto.Marshal(message)
	if err == nil {
		err = l.control(1, encoded)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// drop takes what waits but for submits.
func drop(b *testing.B, l library) {
	b.Helper()
	events := make([]event, maxPoll)
	count, err := l.poll(events)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range events[:count] {
		if e.kind != eventMessage {
			b.Fatalf("an event of kind %d", e.kind)
		}
		if _, err := l.take(e.id, e.length); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPoll is what an event costs from the ring to what session code is given: a poll of 256 through
// cgo, and [session.Submit] made of them. An op is an event. The echo's part, which puts them into the ring
// before the clock runs, is not measured. complete-ns/op is a verdict's way back, measured beside it, from
// [sv2.Verdict] into the library.
func BenchmarkPoll(b *testing.B) {
	echo := welcomedEcho(b)
	s := newStream(echo, 1)
	events := make([]event, maxPoll)
	verdicts := make([]sv2.Verdict, 0, benchmarked)
	ask := &sv2pb.SessionResponse{Message: &sv2pb.SessionResponse_Ping{Ping: &sv2pb.Ping{Id: benchmarked}}}
	var polling, completing time.Duration
	polled, first := 0, uint64(0)
	b.ReportAllocs()
	for polled < b.N {
		say(b, echo, ask)
		verdicts = verdicts[:0]
		start := time.Now()
		for range benchmarked / maxPoll {
			count, err := echo.poll(events)
			if err != nil || count != maxPoll {
				b.Fatal(count, err)
			}
			s.put(s.batch(events))
			request, err := s.Recv()
			if err != nil || len(request.Submits) != maxPoll {
				b.Fatal(len(request.Submits), err)
			}
			first = request.Submits[0].ID
		}
		polling += time.Since(start)
		polled += benchmarked
		for id := first + maxPoll - benchmarked; id < first+maxPoll; id++ {
			verdicts = append(verdicts, sv2.Verdict{SubmitID: id, Hash: sv2.Hash{1}, Credit: sv2.Difficulty{Whole: 1}})
		}
		start = time.Now()
		for rest := verdicts; len(rest) > 0; rest = rest[session.MaxBatch:] {
			if err := s.SendVerdicts(rest[:session.MaxBatch]); err != nil {
				b.Fatal(err)
			}
		}
		completing += time.Since(start)
		drop(b, echo) // the Pong
	}
	b.ReportMetric(float64(polling.Nanoseconds())/float64(polled), "ns/op")
	b.ReportMetric(float64(completing.Nanoseconds())/float64(polled), "complete-ns/op")
}
