// Who may open a channel, before the pool is asked.

package door

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// rememberedConnections is how many connections are known to be counted already; far more than can be
// open at once, so one that is forgotten is one that has ended.
const rememberedConnections = 1 << 17

// admission has the first look at a miner.
type admission struct {
	pool Pool

	mu     sync.Mutex
	known  map[connection]struct{}
	oldest []connection // ring of known
	next   int
}

// connection is a Stratum V2 connection, whichever sidecar it came through.
type connection struct {
	remote string
	id     uint64
	since  int64
}

func connectionOf(c sv2.Connection) connection {
	return connection{c.RemoteAddress, c.ID, c.ConnectedAt.UnixNano()}
}

func newAdmission(pool Pool) *admission {
	return &admission{pool: pool, known: make(map[connection]struct{})}
}

// admit refuses those that the pool would send away, or worse, ban.
func (a *admission) admit(_ context.Context, request sv2.OpenRequest) error {
	refuse := func(reason sv2.RefuseReason, format string, values ...any) error {
		return &sv2.Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
	}
	if err := a.pool.Health(); err != nil {
		return refuse(sv2.RefuseNoWork, "%v", err)
	}
	if !request.Reopen && !a.allow(request.Connection) {
		return refuse(sv2.RefuseRateLimited, "this address connects too often: wait an hour")
	}
	if err := a.pool.Room(); err != nil {
		return refuse(sv2.RefuseCapacity, "%v", err)
	}
	settings := &a.pool.Settings
	if settings.PasswordNeeded && a.pool.Config.Password == config.PasswordRefuse {
		return refuse(sv2.RefuseUnauthorized, "the pool asks for a password, which Stratum V2 can't give")
	}
	if settings.EnforceLimits {
		if err := settings.checkHint(string(request.UserIdentity)); err != nil {
			return refuse(sv2.RefuseInvalidUserIdentity, "%v", err)
		}
	}
	return nil
}

// allow asks the pool's limit of reconnects once for each connection.
func (a *admission) allow(c sv2.Connection) bool {
	host, _, err := net.SplitHostPort(c.RemoteAddress)
	if err != nil {
		host = c.RemoteAddress
	}
	key := connectionOf(c)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.known[key]; known {
		return true
	}
	if !a.pool.AllowAddress(host, time.Now()) {
		return false
	}
	a.remember(key)
	return true
}

func (a *admission) remember(key connection) {
	a.known[key] = struct{}{}
	if len(a.oldest) < rememberedConnections {
		a.oldest = append(a.oldest, key)
		return
	}
	delete(a.known, a.oldest[a.next])
	a.oldest[a.next] = key
	a.next = (a.next + 1) % rememberedConnections
}

// hintSeparators begin what goPool takes for a wish in a user name: "ADDRESS.worker+d=1024".
const hintSeparators = "+#,:;|& \t\r\n"

// checkHint refuses a user name that asks for a difficulty beyond the pool's limits: goPool bans the
// worker for that, on whatever protocol he mines.
func (s *Settings) checkHint(identity string) error {
	at := strings.IndexAny(identity, hintSeparators)
	if at < 0 {
		return nil
	}
	for _, token := range strings.FieldsFunc(identity[at:], func(r rune) bool {
		return strings.ContainsRune(hintSeparators, r)
	}) {
		if _, value, named := strings.Cut(token, "="); named {
			token = value
		}
		if !strings.ContainsAny(token, "0123456789") {
			continue
		}
		wish, err := strconv.ParseFloat(token, 64)
		if err != nil || !(wish >= s.MinDifficulty) || s.MaxDifficulty > 0 && wish > s.MaxDifficulty {
			return fmt.Errorf("%q behind the name asks for a difficulty beyond the pool's limits: "+
				"leave it out", token)
		}
	}
	return nil
}
