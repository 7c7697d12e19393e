//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig)

package ffihost

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// judge is a host of one channel that accepts every second share, and says what it has no right to.
type judge struct {
	none
	mu      sync.Mutex
	sink    sv2.Sink
	submits []sv2.Submit
}

func (j *judge) OpenChannel(_ context.Context, r sv2.OpenRequest, sink sv2.Sink) (sv2.Channel, sv2.Opened, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sink = sink
	if r.Kind != sv2.Extended || string(r.UserIdentity) != "echo" {
		return nil, sv2.Opened{}, fmt.Errorf("not the echo's channel: %+v", r)
	}
	job := &sv2.Job{ID: 42, NBits: 0x207fffff, Version: 0x20000000, MinNTime: 1_600_000_000,
		CoinbasePrefix: []byte{1}, CoinbaseSuffix: []byte{2}}
	return j, sv2.Opened{Prefix: []byte{1, 2, 3, 4}, ExtranonceSize: 9, Target: r.MaxTarget, Job: job}, nil
}

func (j *judge) Submit(batch []sv2.Submit) {
	verdicts := make([]sv2.Verdict, len(batch))
	for i, s := range batch {
		verdicts[i] = sv2.Verdict{SubmitID: s.ID, Reason: sv2.RejectStale}
		if s.ID%2 == 0 {
			verdicts[i] = sv2.Verdict{SubmitID: s.ID, Hash: sv2.Hash{31: 0xcd}, BlockCandidate: s.ID%4 == 0,
				Credit: sv2.Difficulty{Whole: 5, Fraction: 1 << 31}}
		}
	}
	j.mu.Lock()
	j.submits = append(j.submits, batch...)
	j.mu.Unlock()
	j.sink.Verdicts(verdicts)
}

func (*judge) Update(context.Context, sv2.UpdateRequest) error { return nil }
func (*judge) Close(string)                                    {}

// echoing serves a host with an echo that has begun.
func echoing(t *testing.T, host sv2.Host, log *testlog.Buffer) (*Server, <-chan error) {
	t.Helper()
	options := Options{Logger: slog.New(slog.NewTextHandler(log, nil)), MaxInFlight: 512, VerdictRing: 512}
	server, err := newServer(host, options, func() (library, error) { return newEcho(512) })
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	eventually(t, "the echo's session with the host", func() bool { return len(server.Sessions()) == 1 })
	return server, served
}

func TestSharesAndVerdictsOfAnEchoAreTheSameOnBothSides(t *testing.T) {
	var log testlog.Buffer
	host := &judge{}
	server, served := echoing(t, host, &log)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	at := server.Sessions()[0]
	// The calls of a session count from 1, and a Ping asks for as many submits as its id says.
	var calls, all uint64
	eventually(t, "the echo's channel", func() bool {
		account, err := at.GetAccount(ctx, []byte("echo"), nil)
		if err != nil {
			t.Fatal(err)
		}
		calls++
		return !account.Frozen
	})
	for range 40 { // whatever the first number, the sum is a multiple of 4
		calls++
		all += calls
		if _, err := at.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var account session.Account
	eventually(t, "a verdict on each share", func() bool {
		var err error
		if account, err = at.GetAccount(ctx, []byte("echo"), nil); err != nil {
			t.Fatal(err)
		}
		return account.Pending == 0 && account.Shares+account.Confirmed == all
	})
	if account.Shares != all/2 || account.Issued != all/4 ||
		account.Accrued != (sv2.Difficulty{Whole: all / 2 * 11 / 2}) {
		t.Errorf("the echo was told %+v", account)
	}
	newest := strings.Join(account.QuoteRequests, "\n")
	hash := "cd" + strings.Repeat("00", 31)
	for _, want := range []string{
		fmt.Sprintf("%d accepted 5+2147483648 %s block", all, hash),
		fmt.Sprintf("%d accepted 5+2147483648 %s\n", all-2, hash),
		fmt.Sprintf("%d rejected stale-share", all-1),
	} {
		if !strings.Contains(newest, want) {
			t.Errorf("%q is not in\n%s", want, newest)
		}
	}
	host.mu.Lock()
	for i, s := range host.submits {
		id := uint64(i + 1)
		worker := ""
		if id%4 == 0 {
			worker = "echo"
		}
		extranonce := string([]byte{byte(id), byte(id >> 8), 0, 0, 0, 0, 0, 0, byte(id)})
		if s.ID != id || s.Nonce != uint32(id) || s.NTime != 1_700_000_000 || s.Version != 0x20000000 ||
			string(s.Worker) != worker || string(s.Extranonce) != extranonce {
			t.Fatalf("share %d: %+v", id, s)
		}
	}
	host.mu.Unlock()
	shutdown(t, server)
	if err := await(t, served); err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, "WARN") || strings.Contains(text, "ERROR") {
		t.Errorf("the log complains:\n%s", text)
	}
}
