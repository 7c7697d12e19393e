// What the pool's errors mean.

package sv1host

import (
	"errors"
	"strings"

	"github.com/gopool-sv2/gopool-sv2/go-bindings/sv2"
)

// Error codes of Stratum V1.
const (
	codeOther         = 20
	codeJobNotFound   = 21
	codeDuplicate     = 22
	codeLowDifficulty = 23
	codeUnauthorized  = 24
	codeNotSubscribed = 25
)

// rejectOf is the reason that the pool had to reject a share which was good as far as this end can see.
// The text decides where it is one of SV2's own error strings, then the code, then words in the text.
func rejectOf(f *fault) sv2.RejectReason {
	for reason := sv2.RejectInvalidChannelID; reason <= sv2.RejectUnauthorized; reason++ {
		if f.text == reason.String() {
			return reason
		}
	}
	switch f.code {
	case codeJobNotFound:
		return sv2.RejectStale // jobs that were never given don't get as far as the pool
	case codeDuplicate:
		return sv2.RejectDuplicate
	case codeLowDifficulty:
		return sv2.RejectLowDifficulty
	case codeUnauthorized, codeNotSubscribed:
		return sv2.RejectUnauthorized
	}
	text := strings.ToLower(f.text)
	has := func(words ...string) bool {
		for _, word := range words {
			if strings.Contains(text, word) {
				return true
			}
		}
		return false
	}
	switch {
	case has("stale", "job not found"):
		return sv2.RejectStale
	case has("duplicate"):
		return sv2.RejectDuplicate
	case has("low diff", "difficulty too low", "above target"):
		return sv2.RejectLowDifficulty
	case has("ntime", "time out of range", "timestamp"):
		return sv2.RejectNTimeTooOld // which of the two is left open; see rejected
	case has("extranonce"):
		return sv2.RejectExtranonceSize
	case has("version"):
		return sv2.RejectVersionRolling
	case has("rate limit"):
		return sv2.RejectRateLimited
	case has("unavailable"):
		return sv2.RejectUnavailable
	}
	return sv2.RejectInvalidShare
}

// refusalOf is what to tell a miner whose mining.subscribe or mining.authorize the pool refused.
func refusalOf(method string, f *fault) *sv2.Refusal {
	refusal := &sv2.Refusal{Reason: sv2.RefuseUnknownUser,
		Detail: printable("the pool refused " + method + ": " + f.Error())}
	for reason := sv2.RefuseUnknownUser; reason <= sv2.RefuseInternal; reason++ {
		if f.text == reason.String() {
			refusal.Reason = reason
			return refusal
		}
	}
	text := strings.ToLower(f.text)
	switch {
	case f.code == codeUnauthorized, strings.Contains(text, "banned"),
		strings.Contains(text, "password"), f.text == "":
		refusal.Reason = sv2.RefuseUnauthorized
	case method == methodSubscribe:
		refusal.Reason = sv2.RefuseInternal
	case strings.Contains(text, "name required"), strings.Contains(text, "name too long"):
		refusal.Reason = sv2.RefuseInvalidUserIdentity
	}
	return refusal
}

// refusal is the error of an open that failed otherwise: the pool gave no answer, or no work.
func refusal(err error) error {
	if known := (*sv2.Refusal)(nil); errors.As(err, &known) {
		return known
	}
	return &sv2.Refusal{Reason: sv2.RefuseNoWork, Detail: printable(err.Error())}
}

// announcement is what a client.show_message says about the connection.
type announcement uint8

const (
	announceNothing announcement = iota
	announceBan                  // the worker is banned
	announceRestart              // the pool restarts: a connection that ends now ends for that
	announcePause                // the pool has no work to give
)

// announcementIn reads the first words of goPool's messages.
func announcementIn(text string) announcement {
	text = strings.ToLower(strings.TrimSpace(text))
	switch {
	case strings.HasPrefix(text, "banned"):
		return announceBan
	case strings.HasPrefix(text, "pool restarting"):
		return announceRestart
	case strings.HasPrefix(text, "pool paused"):
		return announcePause
	}
	return announceNothing
}
