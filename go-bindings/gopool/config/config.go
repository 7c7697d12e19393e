// Package config reads data/config/sv2.toml, the settings of goPool's Stratum V2 door, and writes the
// example of it that goPool keeps beside its others.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Mode says where the listener runs that Stratum V2 miners connect to.
type Mode string

const (
	// ModeGRPC: in a process of its own, the sidecar, which dials goPool.
	ModeGRPC Mode = "grpc"
	// ModeFFI: in goPool's own process, as a library.
	ModeFFI Mode = "ffi"
)

// Sidecar says who starts the sidecar.
type Sidecar string

const (
	// Supervised: goPool starts it, watches it and stops it.
	Supervised Sidecar = "supervised"
	// Independent: it runs on its own, and goPool only lets it connect.
	Independent Sidecar = "independent"
)

// Password says what becomes of Stratum V2 miners while stratum_password_enabled is set: they can't
// give a password.
type Password string

const (
	// PasswordRefuse refuses their channels.
	PasswordRefuse Password = "refuse"
	// PasswordTrust lets them in as if they had given it.
	PasswordTrust Password = "trust"
)

// Stale says what becomes of shares for work of a tip that is gone.
type Stale string

const (
	// StalePool: goPool decides, as for its Stratum V1 miners.
	StalePool Stale = "pool"
	// StaleStrict: they are refused.
	StaleStrict Stale = "strict"
)

// Limits of what may be set.
const (
	// DefaultExtranonce2Size is what proxies ask for, and what fits where goPool pads to 8 bytes anyway.
	DefaultExtranonce2Size = 8
	// MaxExtranonce2Size keeps the coinbase script within goPool's 100 bytes, and the extranonce within
	// the 32 of Stratum V2.
	MaxExtranonce2Size = 16
	// DefaultListen is where miners connect.
	DefaultListen = "0.0.0.0:3336"
)

// Config is what sv2.toml says, with the defaults of what it doesn't.
type Config struct {
	// Enabled switches the door on.
	Enabled bool
	// Mode says where the listener runs.
	Mode Mode
	// Listen is the IP address and port where miners connect, both always there.
	Listen string
	// PublicHost is the host, or host and port, that miners are told. Empty: nobody said.
	PublicHost string
	// PublicKey is the authority's, which miners type behind that. Empty: the listener says it, unless
	// it is an independent sidecar.
	PublicKey string

	// Sidecar says who starts the sidecar.
	Sidecar Sidecar
	// Program is its path. Empty: beside goPool, else in PATH.
	Program string
	// SidecarConfig is a configuration of the operator's own for the listener, be it a supervised sidecar
	// or within goPool. Empty: one is made.
	SidecarConfig string
	// KeyFile is the authority's secret key. Empty: in goPool's state folder.
	KeyFile string

	// Socket is the Unix socket of the link. Empty: in goPool's state folder.
	Socket string
	// AllowUsers and AllowGroups may connect to it besides goPool's own user and root: names or numbers.
	AllowUsers, AllowGroups []string

	// Extranonce2Size is how many bytes Stratum V2 channels roll. 0: as many as goPool's other miners.
	Extranonce2Size int
	// VersionMask has the version bits that miners may roll.
	VersionMask uint32
	// Stale is about shares for work of before.
	Stale Stale
	// Password is about stratum_password_enabled.
	Password Password

	// Unused says of each setting that was given and has no effect in this mode where it is, one a line.
	Unused []string
}

// Default is what holds without a file.
func Default() Config {
	return Config{
		Mode: ModeGRPC, Listen: DefaultListen, Sidecar: Supervised, Extranonce2Size: DefaultExtranonce2Size,
		VersionMask: sv2.RollableVersionBits, Stale: StalePool, Password: PasswordRefuse,
	}
}

// Read reads the file at path; without one the defaults hold. flags are those of the command line that
// were given, by name ("sv2-listen"): what they say overrides the file. The error names every problem,
// one a line, with file and line, or flag, and remedy.
func Read(path string, flags map[string]string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("read the settings of Stratum V2: %w", err)
	}
	return parse(path, text, flags)
}

// Problems are everything that is wrong with a file, in its order.
type Problems []string

// Error has one problem a line.
func (p Problems) Error() string { return strings.Join(p, "\n") }

func (p Problems) orNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}
