// What the client refuses, and what the pool refuses, for the right reason.

package e2e

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gopool-sv2/gopool-sv2/tests/sv2client"
)

func TestRefusesASidecarOfAnotherAuthority(t *testing.T) {
	l := start(t, hardBits)
	url := l.url
	// A key of somebody else; only its public half is known here.
	other, err := sv2client.ParseAuthorityKey("9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh")
	if err != nil {
		t.Fatal(err)
	}
	url.Authority = other
	_, err = sv2client.Dial(l.context(), url, sv2client.Config{})
	var refused *sv2client.CertificateError
	if !errors.As(err, &refused) || !errors.Is(err, sv2client.ErrWrongAuthority) ||
		!strings.Contains(err.Error(), "not signed by the authority of the pool's address") {
		t.Errorf("%v", err)
	}
	l.dial(sv2client.Config{}) // with the right one
	l.stop()
}

func TestRejectedSharesCarryTheirReasons(t *testing.T) {
	l := start(t, hardBits)
	for _, r := range l.connect("proxy", 0, sv2client.Extended, sv2client.Standard) {
		work, err := r.channel.WaitWork(l.context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		good := find(t, work, first(work), true)
		if code := l.submit(r, good); code != "" {
			t.Fatalf("%s: a good share: %q", r.worker, code)
		}
		// Each change is made before the search, so that the hash meets the target.
		for want, change := range map[string]func(*sv2client.Share){
			"":                                 func(s *sv2client.Share) { s.Version ^= sv2client.VersionRollingMask },
			"invalid-job-id":                   func(s *sv2client.Share) { s.JobID += 1000 },
			"invalid-non-rollable-version-bit": func(s *sv2client.Share) { s.Version ^= 1 },
			"ntime-too-old":                    func(s *sv2client.Share) { s.NTime-- },
			"ntime-too-new":                    func(s *sv2client.Share) { s.NTime += 8000 },
		} {
			share := first(work)
			change(&share)
			if code := l.submit(r, find(t, work, share, true)); code != want {
				t.Errorf("%s: %q, want %q", r.worker, code, want)
			}
		}
		if code := l.submit(r, find(t, work, first(work), false)); code != "difficulty-too-low" {
			t.Errorf("%s: a hash above the target: %q", r.worker, code)
		}
		if code := l.submit(r, good); code != "duplicate-share" {
			t.Errorf("%s: the good share again: %q", r.worker, code)
		}
		if r.kind == sv2client.Extended {
			good.Extranonce = good.Extranonce[1:]
			if code := l.submit(r, good); code != "bad-extranonce-size" {
				t.Errorf("%s: a byte less: %q", r.worker, code)
			}
		}
	}
	l.stop()
}

func TestRefusedChannelsCarryTheirReasons(t *testing.T) {
	l := start(t, hardBits)
	client := l.dial(sv2client.Config{})
	device := l.dial(sv2client.Config{Flags: sv2client.RequiresStandardJobs})
	request := l.request("x")
	with := func(change func(*sv2client.OpenRequest)) sv2client.OpenRequest {
		changed := request
		change(&changed)
		return changed
	}
	ctx := l.context()
	extended := func(client *sv2client.Client, request sv2client.OpenRequest, size uint16) error {
		_, err := client.OpenExtended(ctx, request, size)
		return err
	}
	for want, err := range map[string]error{
		"unknown-user": extended(client, with(func(r *sv2client.OpenRequest) { r.User = "nobody" }), 4),
		"invalid-user-identity": extended(client, with(func(r *sv2client.OpenRequest) { r.User = "" }),
			4),
		"invalid-nominal-hashrate": extended(client,
			with(func(r *sv2client.OpenRequest) { r.HashRate = float32(math.NaN()) }), 4),
		"min-extranonce-size-too-large":                     extended(client, request, 33),
		"extended-channels-not-supported-for-standard-jobs": extended(device, request, 4),
	} {
		var refused *sv2client.OpenError
		if !errors.As(err, &refused) || refused.Code != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	l.open(client, sv2client.Extended, "x") // both connections live on
	l.open(device, sv2client.Standard, "y")
	l.stop()
}

func TestARefusedSetUpNamesTheFlags(t *testing.T) {
	l := start(t, hardBits)
	flags := sv2client.RequiresWorkSelection | sv2client.RequiresStandardJobs
	_, err := sv2client.Dial(l.context(), l.url, sv2client.Config{Flags: flags})
	var refused *sv2client.SetupError
	if !errors.As(err, &refused) || refused.Code != "unsupported-feature-flags" ||
		refused.Flags&sv2client.RequiresWorkSelection == 0 ||
		refused.Flags&sv2client.RequiresStandardJobs != 0 {
		t.Errorf("%v", err)
	}
	l.stop()
}
