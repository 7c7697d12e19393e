// Who finds a place.
package sv1host

import (
	"context"
	"testing"

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
