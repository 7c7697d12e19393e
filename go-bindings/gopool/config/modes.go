// What the command line says, and what has no meaning in the mode that was chosen.

package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// flags are those of the command line, with the keys that they override.
var flags = map[string]string{
	"sv2":         "[server].enabled",
	"sv2-mode":    "[server].mode",
	"sv2-listen":  "[server].listen",
	"sv2-sidecar": "[sidecar].mode",
	"sv2-program": "[sidecar].program",
}

// takeFlags takes the flags that were given.
func (r *reading) takeFlags(given map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := place{line: math.MaxInt, text: "-" + name}
		index := slices.IndexFunc(keys, func(k key) bool { return k.String() == flags[name] })
		if index < 0 {
			r.faults = append(r.faults, at.says("there is no such flag"))
			continue
		}
		var value any = given[name]
		if name == "sv2" {
			if on, err := strconv.ParseBool(given[name]); err == nil {
				value = on
			}
		}
		r.take(keys[index], value, at)
	}
}

// checkMode finds what was given and means nothing without a sidecar. What would only have told where
// that is has no effect, so that one word switches from one mode to the other; who wants the sidecar to
// stay over a restart can't have it.
func (r *reading) checkMode() {
	c := &r.config
	if c.Mode != ModeFFI {
		return
	}
	if at, given := r.given["[sidecar].mode"]; given && c.Sidecar != Supervised {
		r.faults = append(r.faults, at.says(fmt.Sprintf("a sidecar of its own is for mode = %q: leave this out, "+
			"or give that in [server]; with mode = %q miners connect anew when goPool restarts", ModeGRPC, ModeFFI)))
	}
	var unused []fault
	for name, set := range map[string]bool{
		"[sidecar].program":   c.Program != "",
		"[link].socket":       c.Socket != "",
		"[link].allow_users":  len(c.AllowUsers) > 0,
		"[link].allow_groups": len(c.AllowGroups) > 0,
	} {
		if at, given := r.given[name]; given && set {
			unused = append(unused, at.says(fmt.Sprintf("not used: there is no sidecar with mode = %q", ModeFFI)))
		}
	}
	slices.SortFunc(unused, func(a, b fault) int { return a.line - b.line })
	for _, f := range unused {
		c.Unused = append(c.Unused, f.text)
	}
}

// ofAnother is what to say of a value that another key has.
func ofAnother(value string) string {
	switch {
	case value == string(ModeGRPC) || value == string(ModeFFI):
		return fmt.Sprintf("; %q belongs into [server].mode", value)
	case value == string(Supervised) || value == string(Independent):
		return fmt.Sprintf("; %q belongs into [sidecar].mode", value)
	}
	return ""
}
