//go:build cgo && (sv2_static || sv2_system || sv2_pkgconfig) && sv2_mint

package ffihost

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/events"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/internal/testlog"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/session"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2pb"
)

// book is a sink in memory, which may refuse to keep, or panic.
type book struct {
	mu      sync.Mutex
	sources []events.Source
	kept    []*sv2pb.Event
	refuses int // so many times
	panics  int // so many times, at every second call
	calls   int
	stuck   chan struct{} // nil: it isn't
	asked   chan struct{} // gets a token from one that is
}

func (b *book) Begin(_ context.Context, source events.Source) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sources = append(b.sources, source)
	b.mayPanic("nothing is begun")
	return uint64(len(b.kept)), nil
}

func (b *book) Keep(_ context.Context, _ events.Source, batch []*sv2pb.Event) error {
	if b.stuck != nil {
		b.asked <- struct{}{}
		<-b.stuck // whatever its context says
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses > 0 {
		b.refuses--
		return errors.New("the disk is full, say")
	}
	b.kept = append(b.kept, batch...)
	b.mayPanic("it is kept")
	return nil
}

func (b *book) mayPanic(text string) {
	if b.calls++; b.panics > 0 && b.calls%2 == 1 {
		b.panics--
		panic(text)
	}
}

// sealed is the amount of all credits the book knows of, and whether its events are a sequence.
func (b *book) sealed() (amount uint64, inOrder bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	inOrder = true
	for i, event := range b.kept {
		inOrder = inOrder && event.GetSeq() == uint64(i+1)
		amount += event.GetMintSealed().GetAmount()
	}
	return amount, inOrder
}

var account = []byte("sv1 miner")

// payoutKey is the generator of secp256k1.
func payoutKey(t *testing.T) []byte {
	t.Helper()
	key, err := hex.DecodeString("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// recorded enters shares of five units each, one for each number, and says which were new.
func recorded(t *testing.T, server *Server, key []byte, numbers ...byte) []bool {
	t.Helper()
	eventually(t, "the listener's session with the host", func() bool { return len(server.Sessions()) == 1 })
	var shares []session.RecordedShare
	for _, n := range numbers {
		shares = append(shares, session.RecordedShare{Hash: sv2.Hash{n, 1}, UserIdentity: account, PayoutKey: key,
			Credit: sv2.Difficulty{Whole: 5}, Height: 1, AcceptedAt: time.UnixMilli(1000)})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fresh, err := server.RecordShares(ctx, shares)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

func TestEventsReachTheSinkOnceOverRestartsAndASinkThatFails(t *testing.T) {
	var log testlog.Buffer
	options := options(t, "127.0.0.1:0", &log)
	options.Config = append(options.Config, bridge(t)...)
	sink := &book{refuses: 2}
	options.Events, options.Software = sink, "pool/1"
	for life := range 3 {
		server, served := serve(t, context.Background(), options)
		number := byte(2 * life)
		if got := recorded(t, server, payoutKey(t), number, number+1); !slices.Equal(got, []bool{true, true}) {
			t.Errorf("life %d: recorded %v", life, got)
		}
		if got := recorded(t, server, payoutKey(t), number); !slices.Equal(got, []bool{false}) {
			t.Errorf("life %d: recorded again: %v", life, got)
		}
		want := uint64(10 * (life + 1))
		eventually(t, "the sink has the credits", func() bool {
			amount, inOrder := sink.sealed()
			if !inOrder || amount > want {
				t.Fatalf("life %d: %v", life, sink.kept)
			}
			return amount == want
		})
		shutdown(t, server)
		if err := await(t, served); err != nil {
			t.Errorf("life %d: %v", life, err)
		}
	}
	first := sink.sources[0]
	if !first.Durable || first.ID == (events.SourceID{}) || first.First != 1 {
		t.Errorf("the source is %+v", first)
	}
	for _, source := range sink.sources {
		if source.ID != first.ID {
			t.Errorf("another ledger: %+v", source)
		}
	}
	if !strings.Contains(log.String(), "the disk is full, say") {
		t.Errorf("the log says nothing of it:\n%s", log.String())
	}
}

func TestEventsReachTheSinkOnceThoughItPanics(t *testing.T) {
	var log testlog.Buffer
	options := options(t, "127.0.0.1:0", &log)
	options.Config = append(options.Config, bridge(t)...)
	sink := &book{panics: 3}
	options.Events = sink
	server, served := serve(t, context.Background(), options)
	for n := range byte(4) {
		if got := recorded(t, server, payoutKey(t), n); !slices.Equal(got, []bool{true}) {
			t.Errorf("recorded %v", got)
		}
		want := 5 * uint64(n+1)
		eventually(t, "the sink has the credit", func() bool {
			amount, inOrder := sink.sealed()
			if !inOrder || amount > want {
				t.Fatal(sink.kept)
			}
			return amount == want
		})
	}
	shutdown(t, server)
	if err := await(t, served); err != nil {
		t.Error(err)
	}
	if sink.panics != 0 {
		t.Errorf("%d panics are left", sink.panics)
	}
	for _, want := range []string{"the sink of events panicked", "nothing is begun", "(*book).mayPanic"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, log.String())
		}
	}
}

func TestAPoolSetsAndReadsAccountsOfTheListener(t *testing.T) {
	var log testlog.Buffer
	options := options(t, "127.0.0.1:0", &log)
	options.Config = append(options.Config, bridge(t)...)
	server, served := serve(t, context.Background(), options)
	recorded(t, server, nil, 1, 2, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	released, err := server.SetPayout(ctx, account, payoutKey(t), true)
	if err != nil || released != 3 {
		t.Errorf("released %d, %v", released, err)
	}
	books, err := server.GetAccount(ctx, account, payoutKey(t))
	if err != nil || books.Shares != 3 || books.Unit != "hash" || books.Frozen {
		t.Errorf("%+v, %v", books, err)
	}
	// Nobody wants events here, and the log says it; they wait in the ledger.
	eventually(t, "a word that events wait", func() bool { return strings.Contains(log.String(), "it takes no events") })
	shutdown(t, server)
	if err := await(t, served); err != nil {
		t.Error(err)
	}
}

func TestSurvivesASinkThatNeverReturns(t *testing.T) {
	var log testlog.Buffer
	options := options(t, "127.0.0.1:0", &log)
	options.Config = append(options.Config, bridge(t)...)
	sink := &book{stuck: make(chan struct{}), asked: make(chan struct{}, 1)}
	options.Events = sink
	server, served := serve(t, context.Background(), options)
	recorded(t, server, payoutKey(t), 0)
	select {
	case <-sink.asked:
	case <-time.After(patience):
		t.Fatal("no event comes")
	}
	for n := range byte(100) {
		recorded(t, server, payoutKey(t), n+1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	err := server.Shutdown(ctx)
	if err == nil || !strings.Contains(err.Error(), "the sink of events has not returned") {
		t.Errorf("Shutdown says %v", err)
	}
	if err := await(t, served); err != nil {
		t.Error(err)
	}
	close(sink.stuck)
}
