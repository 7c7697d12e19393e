// What the door shows of itself: /api/sv2 for programs, /sv2 for miners.

package door

import (
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/gopool/config"
	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

const (
	statusPath  = "/api/sv2"
	connectPath = "/sv2"
)

// status is what /api/sv2 says. Counts are since the pool's start.
type status struct {
	APIVersion  string          `json:"api_version"`
	UpdatedAt   time.Time       `json:"updated_at"`
	Listener    listenerStatus  `json:"listener"`
	Sidecars    []sidecarStatus `json:"sidecars"`
	Connections int             `json:"connections"`
	Channels    int             `json:"channels"`
	Opens       opensStatus     `json:"opens"`
	Shares      sharesStatus    `json:"shares"`
	Blocks      blocksStatus    `json:"blocks"`
}

type listenerStatus struct {
	Address string `json:"address,omitempty"`
	Sidecar string `json:"sidecar"`
	URL     string `json:"url,omitempty"`
	Fault   string `json:"fault,omitempty"`
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

func (d *Door) status(request *http.Request) status {
	connections, channels := d.counts.open()
	s := status{
		APIVersion: "1", UpdatedAt: time.Now().UTC(),
		Listener: listenerStatus{Address: d.address(), Sidecar: string(d.config.Sidecar),
			URL: d.url(request)},
		Sidecars: []sidecarStatus{}, Connections: connections, Channels: channels,
		Opens:  opensStatus{Opened: d.counts.opened.Load(), Refused: map[string]uint64{}},
		Shares: sharesStatus{Accepted: d.counts.verdicts[0].Load(), Rejected: map[string]uint64{}},
		Blocks: blocksStatus{Found: d.counts.found.Load(), Accepted: d.counts.taken.Load(),
			Rejected: d.counts.refusedBlocks.Load()},
	}
	if fault := d.sidecar.fault.Load(); fault != nil {
		s.Listener.Fault = "the sidecar does not run; the pool's log says why"
	}
	for _, session := range d.server.Sessions() {
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
	if d.config.Sidecar != config.Supervised || d.config.SidecarConfig != "" {
		return ""
	}
	return d.config.Listen
}

// url is what miners type; empty when the key isn't known.
func (d *Door) url(request *http.Request) string {
	key := d.config.PublicKey
	if found := d.sidecar.key.Load(); found != nil {
		key = *found
	}
	if key == "" {
		return ""
	}
	name := d.config.PublicHost
	if name == "" {
		name = request.Host
		if alone, _, err := net.SplitHostPort(name); err == nil {
			name = alone
		}
	}
	if _, _, err := net.SplitHostPort(name); err != nil {
		_, port, err := net.SplitHostPort(d.config.Listen)
		if _, number := strconv.Atoi(port); err != nil || number != nil {
			return ""
		}
		name = net.JoinHostPort(unbracketed(name), port)
	}
	return "stratum2+tcp://" + name + "/" + key
}

// unbracketed is an IPv6 address without the brackets that a Host header has.
func unbracketed(host string) string {
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		return host[1 : len(host)-1]
	}
	return host
}

func (d *Door) serveStatus(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	// An error is that the reader has left.
	_ = json.NewEncoder(w).Encode(d.status(r))
}

func (d *Door) serveConnect(w http.ResponseWriter, r *http.Request) {
	if !readOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = connectPage.Execute(w, struct {
		status
		Rolled   int
		Password bool
	}{d.status(r), d.config.Extranonce2Size,
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
<tr><th>Pool URL</th><td>{{with .Listener.URL}}<code>{{.}}</code>{{else}}ask the operator{{end}}</td></tr>
<tr><th>User</th><td><code>YOUR_BITCOIN_ADDRESS.worker</code></td></tr>
<tr><th>Password</th><td>none</td></tr>
</table>
<p>The last part of the URL is the pool's key: your device checks by it that it talks to this pool.
Some devices have fields of their own for host, port and key.</p>
{{if .Rolled}}<p>Proxies get {{.Rolled}} bytes of extranonce to roll.</p>{{end}}
<p>{{.Channels}} channels on {{.Connections}} connections now. <a href="/">The pool's page</a></p>
</body></html>
`))
