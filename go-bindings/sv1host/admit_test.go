// Who finds a place.
package sv1host

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

func TestChannelsThatComeBackFindAPlaceThoughNewOnesWereQuicker(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) { o.MaxChannels = 2 })
	fresh, back := extendedRequest(), extendedRequest()
	back.Reopen = true
	full := func(request sv2.OpenRequest) {
		t.Helper()
		_, _, err := r.OpenChannel(context.Background(), request, newTape())
		if got := reasonOfError(t, err); got != sv2.RefuseCapacity {
			t.Errorf("refused for %s", got)
		}
	}
	var miners []*miner
	for _, request := range []sv2.OpenRequest{fresh, fresh, back} {
		miners = append(miners, r.open(request))
	}
	full(fresh)
	miners = append(miners, r.open(back))
	full(back)
	for _, m := range miners {
		m.end()
	}
	r.open(fresh).end()
}

func TestAPoolMayReadItsNameFromAnIdentity(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) {
		o.Identity = func(request sv2.OpenRequest) string {
			name, _, _ := strings.Cut(string(request.UserIdentity), "+")
			return name
		}
	})
	request := extendedRequest()
	request.UserIdentity = []byte("alice.rig+0.0000001")
	m := r.open(request)
	defer m.end()
	<-m.peer.requests // mining.subscribe
	if got := <-m.peer.requests; got.Method != methodAuthorize || got.param(0) != `"alice.rig"` {
		t.Errorf("the pool got %s", got.line)
	}
	m.Submit([]sv2.Submit{m.share(m.opened.Job)})
	if got := m.peer.submit(); got.param(0) != `"alice.rig"` {
		t.Errorf("the pool got %s", got.line)
	}
	if asked, known := RequestOf(m.peer.conn); !known || string(asked.UserIdentity) != "alice.rig+0.0000001" {
		t.Errorf("the request is %q", asked.UserIdentity)
	}
}

func TestRejectsANameThatEndsALine(t *testing.T) {
	r := newRig(t, usual(), func(o *Options) {
		o.Identity = func(sv2.OpenRequest) string { return "alice\n{}" }
		o.MaxChannels = 1
	})
	for range 2 { // and leaves no place taken
		_, _, err := r.OpenChannel(context.Background(), extendedRequest(), newTape())
		if got := reasonOfError(t, err); got != sv2.RefuseInvalidUserIdentity {
			t.Errorf("refused for %s", got)
		}
	}
	if r.Channels() != 0 {
		t.Errorf("%d channels", r.Channels())
	}
}

func TestCloseEndsAnOpenThatWaitsForThePool(t *testing.T) {
	r := newRig(t, script{}, func(o *Options) { o.OpenTimeout = time.Hour })
	refused := make(chan error, 1)
	go func() {
		_, _, err := r.OpenChannel(context.Background(), extendedRequest(), newTape())
		refused <- err
	}()
	<-(<-r.peers).requests // mining.subscribe, to which there is no answer
	r.close()
	select {
	case err := <-refused:
		if got := reasonOfError(t, err); got != sv2.RefuseNoWork ||
			!strings.Contains(err.Error(), "closing") {
			t.Errorf("refused for %v", err)
		}
	case <-time.After(patience):
		t.Error("the open goes on")
	}
}

func TestTheClockMayWriteToTheConnection(t *testing.T) {
	var open atomic.Pointer[channel]
	var looked atomic.Int32
	r := newRig(t, usual(), func(o *Options) {
		clock := o.Clock
		o.Clock = func() time.Time {
			c := open.Load()
			if c == nil {
				return clock()
			}
			free := make(chan struct{})
			go func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				close(free)
			}()
			select {
			case <-free:
				looked.Add(1)
			case <-time.After(patience):
				t.Error("called with the channel's lock held")
			}
			return clock()
		}
	})
	m := r.open(extendedRequest())
	defer m.end()
	open.Store(m.Channel.(*channel))
	m.Submit([]sv2.Submit{m.share(m.opened.Job)})
	m.peer.answer(m.peer.submit(), `"result":null,"error":[20,"ntime out of range",null]`)
	await[sv2.Verdict](t, m.tape, 1)
	if looked.Load() < 2 { // to judge the share, and to tell too old from too new
		t.Errorf("the clock was looked at %d times", looked.Load())
	}
}
