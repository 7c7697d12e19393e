// What is written: the example that operators copy, and the configuration of the listener.

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Example is sv2.toml with every key at its default, in goPool's style.
const Example = `# Generated sv2 config example (copy to ../sv2.toml and edit as needed)
#
# Settings of the Stratum V2 door. goPool reads this file on startup and never
# rewrites it. Keep it absent unless you need to override defaults: the flag
# -sv2 alone switches the door on. Everything here requires a restart.
#
# Key notes
# - [server].enabled: Serve Stratum V2.
#   Runtime override: -sv2, -sv2=false
# - [server].mode: Where the listener runs that miners connect to.
#   "grpc": in a process of its own, the sidecar, the program gopool-sv2.
#   "ffi": in goPool itself. goPool has to be built for it, and [sidecar].program
#   and [link] are not used.
#   Runtime override: -sv2-mode ffi
# - [server].listen: Where Stratum V2 miners connect, IP address and port.
#   Runtime override: -sv2-listen :3336
# - [server].public_host: Host name that miners are told on the page /sv2, with
#   ":port" if it differs; "" = that of [server].status_public_url.
# - [server].public_key: Key that stands behind it, as 'gopool-sv2 keygen' printed
#   it. Only needed when the sidecar is independent.
#
# - [sidecar].mode: Who starts the sidecar.
#   "supervised": goPool starts it, restarts it, stops it with itself.
#   "independent": it runs on its own (systemd), so that miners stay connected
#   while goPool restarts.
#   Runtime override: -sv2-sidecar independent
# - [sidecar].program: Path of gopool-sv2; "" = beside goPool, else in PATH.
# - [sidecar].config_file: A configuration of your own for the listener; "" =
#   goPool makes one in data/state at each start. Not for an independent sidecar.
# - [sidecar].key_file: Secret key that miners verify the pool by, made on first
#   start; "" = data/state/sv2_authority.key. Keep a copy of it.
#
# - [link].socket: Unix socket between goPool and the sidecar;
#   "" = data/state/sv2.sock.
# - [link].allow_users / allow_groups: Who may connect to it besides goPool's own
#   user and root, by name or number. An independent sidecar's user belongs here.
#
# - [mining].extranonce2_size: Bytes that Stratum V2 miners and proxies roll,
#   2 to 16. Stratum V1 miners keep theirs. 0 = the same as theirs.
# - [mining].version_mask: Version bits that Stratum V2 miners may roll. They
#   know only all of 1fffffe0, or none: a mask without some of these forbids it,
#   and most devices roll bits.
# - [mining].stale_shares: "pool": goPool decides, as for Stratum V1 (see
#   share_job_freshness_mode). "strict": shares for an old tip are refused.
#
# - [policy].password: Stratum V2 miners can't give a password. While
#   stratum_password_enabled is set: "refuse" refuses them, "trust" lets them in.
#

[server]
  enabled = false
  mode = "grpc"
  listen = "0.0.0.0:3336"
  public_host = ""
  public_key = ""

[sidecar]
  mode = "supervised"
  program = ""
  config_file = ""
  key_file = ""

[link]
  socket = ""
  allow_users = []
  allow_groups = []

[mining]
  extranonce2_size = 8
  version_mask = "1fffffe0"
  stale_shares = "pool"

[policy]
  password = "refuse"
`

// WriteExample writes the example into goPool's folder of examples beside path, the place of sv2.toml.
// Where goPool keeps no examples there is none.
func WriteExample(path string) error {
	folder := filepath.Join(filepath.Dir(path), "examples")
	if info, err := os.Stat(folder); err != nil || !info.IsDir() {
		return nil
	}
	name := filepath.Join(folder, filepath.Base(path)+".example")
	if err := os.WriteFile(name, []byte(Example), 0o644); err != nil {
		return fmt.Errorf("write the example of sv2.toml: %w", err)
	}
	return nil
}

// In goPool's state folder, where nothing else is named.
const (
	socketName  = "sv2.sock"
	keyName     = "sv2_authority.key"
	sidecarName = "sv2_sidecar.toml"
)

// In fills in the places that were left to goPool, within its state folder, and makes all absolute.
func (c Config) In(state string) (Config, error) {
	for _, place := range []struct {
		path     *string
		standard string
	}{{&c.Socket, socketName}, {&c.KeyFile, keyName}} {
		if *place.path == "" {
			*place.path = filepath.Join(state, place.standard)
		}
		absolute, err := filepath.Abs(*place.path)
		if err != nil {
			return c, fmt.Errorf("where goPool runs: %w", err)
		}
		*place.path = absolute
	}
	return c, nil
}

// drain is how long the listener waits for last answers, in milliseconds: goPool waits 10 seconds in all
// for what it has to end.
const drain = 2000

// WriteListener writes the configuration of the listener, of a supervised sidecar or within goPool, into
// goPool's state folder and gives its path; or the path of the operator's own.
func (c Config) WriteListener(state string) (string, error) {
	if c.SidecarConfig != "" {
		return c.SidecarConfig, nil
	}
	path := filepath.Join(state, sidecarName)
	if err := os.WriteFile(path, []byte(c.listener()), 0o600); err != nil {
		return "", fmt.Errorf("write the listener's configuration: %w", err)
	}
	return path, nil
}

// listener is the configuration of the listener for these settings.
func (c Config) listener() string {
	var b strings.Builder
	b.WriteString("# Made by goPool at each start from its sv2.toml: edits are lost. For more settings copy this\n" +
		"# file elsewhere, edit the copy, and name it in sv2.toml, [sidecar].config_file.\n\n")
	fmt.Fprintf(&b, "[listen]\naddress = %s\n\n", strconv.Quote(c.Listen))
	fmt.Fprintf(&b, "[authority]\nkey_file = %s\n\n", quote(c.KeyFile))
	b.WriteString("[pool]\nsidecar_id = \"goPool\"\n")
	if c.Mode == ModeGRPC {
		fmt.Fprintf(&b, "address = %s\n", quote("unix:"+c.Socket))
	}
	fmt.Fprintf(&b, "\n[limits]\ndrain_timeout_ms = %d\n\n[log]\nformat = \"json\"\n"+
		"filter = \"info,gopool_sv2::session::driver=debug\"\n", drain)
	return b.String()
}

// quote is a TOML basic string.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
