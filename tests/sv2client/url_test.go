// Pool addresses.

package sv2client

import (
	"strings"
	"testing"
)

func TestReadsTheKeyOfTheSpecification(t *testing.T) {
	// Chapter 4.7.1.
	const text = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh"
	raw := AuthorityKey{118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16,
		252, 233, 185, 193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85}
	for want, text := range map[AuthorityKey]string{
		raw: text, vectorAuthorityKey(t): vectorURLKey,
	} {
		key, err := ParseAuthorityKey(text)
		if err != nil || key != want {
			t.Errorf("%s: %x, %v", text, key, err)
		}
		if want.String() != text {
			t.Errorf("%x prints as %s", want, want)
		}
	}
}

func TestRejectsAKeyWithAnyCharacterChanged(t *testing.T) {
	for i := range len(vectorURLKey) {
		for _, c := range "1z0" {
			text := vectorURLKey[:i] + string(c) + vectorURLKey[i+1:]
			if text == vectorURLKey {
				continue
			}
			if _, err := ParseAuthorityKey(text); err == nil {
				t.Errorf("%s was taken", text)
			}
		}
	}
}

func TestRejectsKeysOfOtherKinds(t *testing.T) {
	point := vectorAuthorityKey(t)
	for name, payload := range map[string][]byte{
		"another version":     append([]byte{2, 0}, point[:]...),
		"too short":           append([]byte{1, 0}, point[:31]...),
		"too long":            append([]byte{1, 0, 0}, point[:]...),
		"no point":            append([]byte{1, 0}, make([]byte, 32)...),
		"nothing":             {},
		"only zeros":          make([]byte, 34),
		"above the field":     append([]byte{1, 0}, []byte(strings.Repeat("\xff", 32))...),
		"a version byte less": append([]byte{1}, point[:]...),
	} {
		if _, err := ParseAuthorityKey(encodeBase58Check(payload)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, text := range []string{"", "1", "1111", strings.Repeat("2", 129), "ä"} {
		if _, err := ParseAuthorityKey(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestReadsAndPrintsURLs(t *testing.T) {
	for _, text := range []string{
		"stratum2+tcp://pool.example.com:3336/" + vectorURLKey,
		"stratum2+tcp://127.0.0.1:1/" + vectorURLKey,
		"stratum2+tcp://[::1]:65535/" + vectorURLKey,
	} {
		url, err := ParseURL(text)
		if err != nil || url.String() != text || url.Authority != vectorAuthorityKey(t) {
			t.Errorf("%s: %v, %v", text, url, err)
		}
	}
}

func TestRejectsWrongURLsAndSaysWhy(t *testing.T) {
	for text, word := range map[string]string{
		"pool.example.com:3336":                     "stratum2+tcp://",
		"stratum+tcp://h:1/" + vectorURLKey:         "stratum2+tcp://",
		"stratum2+tcp://h/" + vectorURLKey:          "port",
		"stratum2+tcp://h:0/" + vectorURLKey:        "port",
		"stratum2+tcp://h:65536/" + vectorURLKey:    "port",
		"stratum2+tcp://:1/" + vectorURLKey:         "host",
		"stratum2+tcp://h:1":                        "authority key",
		"stratum2+tcp://h:1/":                       "authority key",
		"stratum2+tcp://h:1/" + vectorURLKey[1:]:    "checksum",
		"stratum2+tcp://h:1/" + vectorURLKey + "/x": "base58",
		"stratum2+tcp://h:1/" + vectorURLKey + "2":  "checksum",
	} {
		if _, err := ParseURL(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, which doesn't say %q", text, err, word)
		}
	}
}

func TestFollowsAReconnectWithTheSameAuthority(t *testing.T) {
	url := URL{Host: "a", Port: 1, Authority: vectorAuthorityKey(t)}
	for to, want := range map[Reconnect]string{
		{}:                           "a:1",
		{NewHost: "b"}:               "b:1",
		{NewPort: 2}:                 "a:2",
		{NewHost: "::1", NewPort: 2}: "[::1]:2",
	} {
		got := url.Follow(to)
		if got.Address() != want || got.Authority != url.Authority {
			t.Errorf("%+v: %v, want %s", to, got, want)
		}
	}
}
