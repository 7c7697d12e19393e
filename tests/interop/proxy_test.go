// The proxy as a process, and its own account of the shares it has sent.

package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// channel is what the proxy tells of one of its channels to the pool.
type channel struct {
	ID             int            `json:"channel_id"`
	User           string         `json:"user_identity"`
	FullSize       int            `json:"full_extranonce_size"`
	RollableSize   int            `json:"rollable_extranonce_size"`
	VersionRolling bool           `json:"version_rolling"`
	Submitted      int            `json:"shares_submitted"`
	Acknowledged   int            `json:"shares_acknowledged"`
	Rejected       int            `json:"shares_rejected"`
	Reasons        map[string]int `json:"shares_rejected_by_reason"`
}

// proxy is a running translator_sv2.
type proxy struct {
	*process
	miners     string // where Stratum V1 miners connect
	monitoring string // where its HTTP API is
}

// startProxy starts translator_sv2 before a line. The difficulty that it tells its miners first, of
// 20000 hashes, is far too easy, but not easier than the pool's (minDifficulty, or 50000 H/s for
// shareSeconds).
func startProxy(t *testing.T, l *line, program string, s setup) *proxy {
	t.Helper()
	p := &proxy{}
	p.miners, p.monitoring = freeAddresses(t)
	host, port, err := net.SplitHostPort(p.miners)
	if err != nil {
		t.Fatal(err)
	}
	l.write("translator.toml", fmt.Sprintf(`downstream_address = %q
downstream_port = %s
max_supported_version = 2
min_supported_version = 2
downstream_extranonce2_size = %d
aggregate_channels = %t
supported_extensions = [0x0002]
monitoring_address = %q
monitoring_cache_refresh_secs = 1
[downstream_difficulty_config]
min_individual_miner_hashrate = 50000.0
shares_per_minute = 150.0
enable_vardiff = %t
job_keepalive_interval_secs = 2
[[upstreams]]
address = %q
port = %s
authority_pubkey = %q
user_identity = %q
`, host, port, s.extranonceSize, s.aggregate, p.monitoring, s.vardiff, l.host, l.port, l.key, l.address+s.payout()))
	p.process = start(t, l.directory, "translator", program, "-c", "translator.toml")
	p.await("listening on " + p.miners)
	return p
}

// channels asks the monitoring API. It answers from a copy that is renewed each second.
func (p *proxy) channels() ([]channel, error) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + p.monitoring + "/api/v1/server/channels")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the monitoring API says %s", response.Status)
	}
	var page struct {
		Total    int       `json:"total_extended"`
		Channels []channel `json:"extended_channels"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return nil, err
	}
	if len(page.Channels) != page.Total {
		return nil, fmt.Errorf("%d of %d channels on the first page", len(page.Channels), page.Total)
	}
	return page.Channels, nil
}

// settle waits until the proxy has an answer to all that it submitted, and no more comes: its miners
// must be quiet.
func (p *proxy) settle() []channel {
	p.t.Helper()
	var last []channel
	calm := 0
	p.eventually("all its shares are answered", func() bool {
		now, err := p.channels()
		if err != nil {
			p.t.Fatal(err)
		}
		open := 0
		for _, c := range now {
			open += c.Submitted - c.Acknowledged - c.Rejected
		}
		if open != 0 || !reflect.DeepEqual(now, last) {
			calm = 0
		}
		last = now
		calm++
		time.Sleep(500 * time.Millisecond)
		return calm > 5 // more than two copies
	}, &last)
	return last
}

// freeAddresses are two loopback addresses at which nobody listens at the moment.
func freeAddresses(t *testing.T) (string, string) {
	t.Helper()
	var addresses [2]string
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() // after both are found: they differ
		addresses[i] = listener.Addr().String()
	}
	return addresses[0], addresses[1]
}
