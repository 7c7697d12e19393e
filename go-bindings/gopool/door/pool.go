// What a pool hands to its door.

package door

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Pool is a pool that serves Stratum V1, as its door sees it. Everything but Mux is required. The
// functions are called from any goroutine, several at a time.
type Pool struct {
	// Software names the pool in the sidecar's logs, at most 64 bytes.
	Software string
	// State is the folder of what has to outlive a restart. It is there.
	State string
	// Config is what sv2.toml and the flags say.
	Config config.Config
	// Settings are the pool's own, as far as they matter here.
	Settings Settings
	// Log gets what operators should know.
	Log *slog.Logger

	// Serve is one miner's life, on a connection in memory, until the connection ends. prefix is the
	// extranonce prefix that the miner has to get; nil when the pool has prefixes of its own. ctx is the
	// same for all miners, and ends when they are waited for no longer.
	Serve func(ctx context.Context, conn net.Conn, prefix []byte)
	// OwnPrefixes is set when the pool can't be told an extranonce prefix.
	OwnPrefixes bool
	// Health is why the pool has no work for new miners now; nil when it has.
	Health func() error
	// Room is why there is no place for one more miner; nil when there is.
	Room func() error
	// AllowAddress reports whether an IP address may connect now, and counts it. It is asked once for
	// each Stratum V2 connection, never for one that is back after a restart.
	AllowAddress func(host string, now time.Time) bool
	// AssignedDifficulty is that of a job just given on conn, by its Stratum V1 id.
	AssignedDifficulty func(conn net.Conn, job string) (float64, bool)
	// IsTip reports whether the pool works on a prev-hash now.
	IsTip func(prevHash sv2.Hash) bool

	// Mux is where the pool serves HTTP; nil for none. What is there already stays.
	Mux *http.ServeMux
	// JSON lets /api/sv2 be served.
	JSON bool
	// Ended counts the door among what the pool waits for when it stops. Start adds 1.
	Ended *sync.WaitGroup
}

// Settings of a pool that decide what its miners may do.
type Settings struct {
	// MinDifficulty and MaxDifficulty are the limits of vardiff; 0 for none.
	MinDifficulty, MaxDifficulty float64
	// EnforceLimits is set when a miner is banned for asking for a difficulty beyond them.
	EnforceLimits bool
	// SharesPerMinute is what vardiff aims at; 0 for the default.
	SharesPerMinute float64
	// MaxConnections is how many miners may be connected, of whatever protocol; 0 for no limit.
	MaxConnections int
	// MaxNTimeAhead is how far above a job's time a share's may be; 0 for the default.
	MaxNTimeAhead time.Duration
	// PasswordNeeded is set when miners have to give Password.
	PasswordNeeded bool
	Password       string
	// PublicURL is where the pool's pages are, as everybody sees them; empty when nobody said.
	PublicURL string
	// BIP310Version is set when the pool reads the version of a share as the bits that were rolled; else
	// it reads how it differs from the job's.
	BIP310Version bool
}
