// What the door shows of itself: /api/sv2 for programs, /sv2 for miners.

package door

import (
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	statusPath  = "/api/sv2"
	connectPath = "/sv2"
	// unknownHost stands on the page where nobody has said by which name miners reach the pool.
	unknownHost = "HOST"
)

// status is what /api/sv2 says. Counts are since the pool's start.
type status struct {
	APIVersion string         `json:"api_version"`
	UpdatedAt  time.Time      `json:"updated_at"`
	Listener   listenerStatus `json:"listener"`
	// Sidecars that are connected; within the pool there is one listener.
	Sidecars    []sidecarStatus `json:"sidecars"`
	Connections int             `json:"connections"`
	Channels    int             `json:"channels"`
	// Handshakes that failed: null where the listener is a sidecar that does not say so to the pool.
	Handshakes *uint64      `json:"handshake_failures"`
	Opens      opensStatus  `json:"opens"`
	Shares     sharesStatus `json:"shares"`
	Blocks     blocksStatus `json:"blocks"`
}

type listenerStatus struct {
	Mode      string `json:"mode"`
	Address   string `json:"address,omitempty"`
	Sidecar   string `json:"sidecar,omitempty"`
	URL       string `json:"url,omitempty"`
	PublicKey string `json:"public_key,omitempty"`
	Fault     string `json:"fault,omitempty"`
}

type sidecarStatus struct {
	ID       string `json:"id"`
	Software string `json:"software"`
}

type opensStatus struct {
	Opened  uint64            `json:"opened"`
	Refused map[string]uint64 `json:"refused"`
}

type sharesStatus struct {
	Accepted uint64            `json:"accepted"`
	Rejected map[string]uint64 `json:"rejected"`
}

type blocksStatus struct {
	Found    uint64 `json:"found"`
	Accepted uint64 `json:"accepted"`
	Rejected uint64 `json:"rejected"`
	// Unknown is how many nobody decided on.
	Unknown uint64 `json:"unknown"`
}

// serveHTTP adds the door's pages to the pool's, where their paths are free.
func (d *Door) serveHTTP() {
	if d.pool.Mux == nil {
		return
	}
	if d.pool.JSON {
		d.handle(statusPath, d.serveStatus)
	}
	d.handle(connectPath, d.serveConnect)
}

func (d *Door) handle(path string, serve http.HandlerFunc) {
	request, err := http.NewRequest(http.MethodGet, "http://pool"+path, nil)
	if err != nil { // not reached: the path is ours
		return
	}
	if _, taken := d.pool.Mux.Handler(request); taken == path {
		d.pool.Log.Warn("the pool has a page of its own there; ours is not served", "path", path)
		return
	}
	d.pool.Mux.HandleFunc(path, serve)
}

func (d *Door) status() status {
	connections, channels := d.counts.open()
	s := status{
		APIVersion: "1", UpdatedAt: time.Now().UTC(),
		Listener: listenerStatus{Mode: string(d.config.Mode), Address: d.address(),
			URL: d.url(""), PublicKey: d.key()},
		Sidecars: []sidecarStatus{}, Connections: connections, Channels: channels,
		Opens:  opensStatus{Opened: d.counts.opened.Load(), Refused: map[string]uint64{}},
		Shares: sharesStatus{Accepted: d.counts.verdicts[0].Load(), Rejected: map[string]uint64{}},
		Blocks: blocksStatus{Found: d.counts.found.Load(), Accepted: d.counts.taken.Load(),
			Rejected: d.counts.refusedBlocks.Load(), Unknown: d.counts.undecided.Load()},
	}
	what := "the listener"
	if !d.inside() {
		s.Listener.Sidecar, what = string(d.config.Sidecar), "the sidecar"
	}
	if d.listener.fault.Load() != nil {
		s.Listener.Fault = what + " does not run; the pool's log says why"
	}
	if d.address() != "" {
		failed := d.listener.handshakes.Load()
		s.Handshakes = &failed
	}
	for _, session := range d.carrier.sessions() {
		s.Sidecars = append(s.Sidecars, sidecarStatus{session.SidecarID(), session.Software()})
	}
	for reason := range d.counts.refused {
		if n := d.counts.refused[reason].Load(); n > 0 {
			s.Opens.Refused[sv2.RefuseReason(reason).String()] = n
		}
	}
	for reason := range d.counts.verdicts {
		if n := d.counts.verdicts[reason].Load(); n > 0 && reason > 0 {
			s.Shares.Rejected[sv2.RejectReason(reason).String()] = n
		}
	}
	return s
}

// address is where miners connect, as far as the pool knows: others' configurations are their own.
func (d *Door) address() string {
	if !d.inside() && d.config.Sidecar != config.Supervised || d.config.SidecarConfig != "" {
		return ""
	}
	return d.config.Listen
}

// inside says whether the listener is within the pool.
func (d *Door) inside() bool { return d.config.Mode == config.ModeFFI }

// key is the authority's public key; empty when it isn't known.
func (d *Door) key() string {
	if found := d.listener.key.Load(); found != nil {
		return *found
	}
	return d.config.PublicKey
}

// url is what miners type; empty when the key isn't known. unknown stands for the host when nobody has
// said what that is. What a request says is no help: goPool shows one reader's page to others.
func (d *Door) url(unknown string) string {
	key := d.key()
	name, port, err := net.SplitHostPort(d.config.Listen)
	if key == "" || err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(name); err != nil || ip.IsUnspecified() {
		name = unknown
	}
	if public, err := url.Parse(d.pool.Settings.PublicURL); err == nil && public.Hostname() != "" {
		name = public.Hostname()
	}
	if d.config.PublicHost != "" {
		name = d.config.PublicHost
	}
	if name == "" {
		return ""
	}
	if _, _, err := net.SplitHostPort(name); err != nil {
		name = net.JoinHostPort(strings.Trim(name, "[]"), port)
	}
	return "stratum2+tcp://" + name + "/" + key
}

func (d *Door) serveStatus(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// An error is that the reader has left.
	_ = json.NewEncoder(w).Encode(d.status())
}

func (d *Door) serveConnect(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = connectPage.Execute(w, struct {
		status
		URL      string
		Rolled   int
		Password bool
	}{d.status(), d.url(unknownHost), d.config.Extranonce2Size,
		d.pool.Settings.PasswordNeeded && d.config.Password == config.PasswordRefuse})
}

func readOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

var connectPage = template.Must(template.New("sv2").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Connect with Stratum V2</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}
code{background:#8882;padding:.1em .3em;overflow-wrap:anywhere}th{text-align:left;padding-right:1rem}
</style></head><body>
<h1>Connect with Stratum V2</h1>
{{if .Listener.Fault}}<p><b>Stratum V2 can't be reached at the moment.</b></p>
{{else if .Password}}<p><b>This pool asks for a password, which Stratum V2 miners can't give.</b></p>{{end}}
<table>
<tr><th>Pool URL</th><td>{{with .URL}}<code>{{.}}</code>{{else}}ask the operator{{end}}</td></tr>
<tr><th>User</th><td><code>YOUR_BITCOIN_ADDRESS.worker</code></td></tr>
<tr><th>Password</th><td>none</td></tr>
</table>
{{if not .Listener.URL}}{{if .URL}}<p>HOST is the name or address by which you reach this pool.</p>
{{end}}{{end}}<p>The last part of the URL is the pool's key: your device checks by it that it talks to this pool.
Some devices have fields of their own for host, port and key.</p>
{{if .Rolled}}<p>Proxies get {{.Rolled}} bytes of extranonce to roll.</p>{{end}}
<p>{{.Channels}} channels on {{.Connections}} connections now. <a href="/">The pool's page</a></p>
</body></html>
`))
