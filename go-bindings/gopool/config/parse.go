// From TOML to settings: every key is known, and every problem is found.

package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml"
)

// key is a setting: where it is in the file, and how it is taken. take gives what it has to be instead.
type key struct {
	section, name string
	take          func(c *Config, value any) (instead string)
}

func (k key) String() string { return "[" + k.section + "]." + k.name }

var keys = []key{
	{"server", "enabled", boolean(func(c *Config) *bool { return &c.Enabled })},
	{"server", "mode", oneOf(func(c *Config) *Mode { return &c.Mode }, ModeGRPC, ModeFFI)},
	{"server", "listen", takeListen},
	{"server", "public_host", text(func(c *Config) *string { return &c.PublicHost })},
	{"server", "public_key", text(func(c *Config) *string { return &c.PublicKey })},
	{"sidecar", "mode", oneOf(func(c *Config) *Sidecar { return &c.Sidecar }, Supervised, Independent)},
	{"sidecar", "program", text(func(c *Config) *string { return &c.Program })},
	{"sidecar", "config_file", text(func(c *Config) *string { return &c.SidecarConfig })},
	{"sidecar", "key_file", text(func(c *Config) *string { return &c.KeyFile })},
	{"link", "socket", text(func(c *Config) *string { return &c.Socket })},
	{"link", "allow_users", texts(func(c *Config) *[]string { return &c.AllowUsers })},
	{"link", "allow_groups", texts(func(c *Config) *[]string { return &c.AllowGroups })},
	{"mining", "extranonce2_size", takeExtranonce},
	{"mining", "version_mask", takeMask},
	{"mining", "stale_shares", oneOf(func(c *Config) *Stale { return &c.Stale }, StalePool, StaleStrict)},
	{"policy", "password",
		oneOf(func(c *Config) *Password { return &c.Password }, PasswordRefuse, PasswordTrust)},
}

// place is where a setting was given: a line of the file, or a flag.
type place struct {
	line int    // math.MaxInt of a flag
	text string // "data/config/sv2.toml:3", "-sv2-mode"
	name string // "[server].mode", empty of a flag
}

// says is what there is to say of the setting at a place.
func (p place) says(words string) fault {
	if p.name != "" {
		words = p.name + ": " + words
	}
	return fault{p.line, p.text + ": " + words}
}

// fault is a problem with its place in it, and the line to order it by.
type fault struct {
	line int
	text string
}

// reading is a configuration that is being read.
type reading struct {
	path   string
	config Config
	given  map[string]place // by key.String()
	faults []fault
}

func parse(path string, content []byte, flags map[string]string) (Config, error) {
	tree, err := toml.LoadBytes(content)
	if err != nil {
		return Config{}, Problems{syntax(path, err)}
	}
	r := reading{path: path, config: Default(), given: make(map[string]place)}
	for _, section := range tree.Keys() {
		r.takeSection(tree, section)
	}
	r.takeFlags(flags)
	r.checkMode()
	slices.SortStableFunc(r.faults, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var problems Problems
	for _, f := range r.faults {
		problems = append(problems, f.text)
	}
	return r.config, problems.orNil()
}

func (r *reading) takeSection(tree *toml.Tree, section string) {
	complain := func(line int, words string) {
		r.faults = append(r.faults, fault{line, fmt.Sprintf("%s:%d: %s", r.path, line, words)})
	}
	line := tree.GetPositionPath([]string{section}).Line
	if !slices.ContainsFunc(keys, func(k key) bool { return k.section == section }) {
		complain(line, fmt.Sprintf("there is no [%s]%s", section, suggest(section, sections())))
		return
	}
	table, ok := tree.GetPath([]string{section}).(*toml.Tree)
	if !ok {
		complain(line, fmt.Sprintf("%s is a section: write [%s]", section, section))
		return
	}
	for _, name := range table.Keys() {
		line := table.GetPositionPath([]string{name}).Line
		at := slices.IndexFunc(keys, func(k key) bool { return k.section == section && k.name == name })
		if at < 0 {
			complain(line, fmt.Sprintf("there is no %s in [%s]%s", name, section, elsewhere(section, name)))
			continue
		}
		where := place{line, fmt.Sprintf("%s:%d", r.path, line), keys[at].String()}
		r.take(keys[at], table.GetPath([]string{name}), where)
	}
}

// take takes one setting.
func (r *reading) take(k key, value any, at place) {
	if instead := k.take(&r.config, value); instead != "" {
		r.faults = append(r.faults, at.says(instead))
		return
	}
	r.given[k.String()] = at
}

var syntaxError = regexp.MustCompile(`^\((\d+), \d+\): `)

// syntax is the problem of a file that is no TOML.
func syntax(path string, err error) string {
	words := err.Error()
	line := "1"
	if place := syntaxError.FindStringSubmatch(words); place != nil {
		line, words = place[1], strings.TrimPrefix(words, place[0])
	}
	return fmt.Sprintf("%s:%s: not TOML: %s; texts stand in quotes, and a key stands once", path, line, words)
}

func boolean(field func(*Config) *bool) func(*Config, any) string {
	return func(c *Config, value any) string {
		set, ok := value.(bool)
		if !ok {
			return "give true or false, without quotes"
		}
		*field(c) = set
		return ""
	}
}

func text(field func(*Config) *string) func(*Config, any) string {
	return func(c *Config, value any) string {
		set, ok := value.(string)
		if !ok {
			return "give a text, in quotes"
		}
		*field(c) = strings.TrimSpace(set)
		return ""
	}
}

func texts(field func(*Config) *[]string) func(*Config, any) string {
	const instead = `give a list of texts: ["miners"]`
	return func(c *Config, value any) string {
		list, ok := value.([]any)
		if !ok {
			return instead
		}
		var set []string
		for _, one := range list {
			text, ok := one.(string)
			if !ok || strings.TrimSpace(text) == "" {
				return instead
			}
			set = append(set, strings.TrimSpace(text))
		}
		*field(c) = set
		return ""
	}
}

func oneOf[T ~string](field func(*Config) *T, choices ...T) func(*Config, any) string {
	return func(c *Config, value any) string {
		set, _ := value.(string)
		if slices.Contains(choices, T(set)) {
			*field(c) = T(set)
			return ""
		}
		var quoted []string
		for _, choice := range choices {
			quoted = append(quoted, strconv.Quote(string(choice)))
		}
		return "give " + strings.Join(quoted, " or ") + ofAnother(set)
	}
}

func takeListen(c *Config, value any) string {
	set, ok := value.(string)
	if !ok {
		return "give a text, in quotes"
	}
	address, err := Listen(set)
	if err != nil {
		return err.Error()
	}
	c.Listen = address
	return ""
}

// Listen completes an address to listen on: ":3336" is every address of the machine.
func Listen(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, ":") {
		text = "0.0.0.0" + text
	}
	address, err := netip.ParseAddrPort(text)
	if err != nil || address.Port() == 0 {
		return "", fmt.Errorf(`%q is no address to listen on: give ":3336" or "203.0.113.5:3336"`, text)
	}
	return address.String(), nil
}

func takeExtranonce(c *Config, value any) string {
	size, ok := value.(int64)
	if !ok || size < 0 || size > MaxExtranonce2Size {
		return fmt.Sprintf("give 2 to %d bytes, or 0 for goPool's own size", MaxExtranonce2Size)
	}
	if size == 1 {
		return "1 byte is too little: a miner is through with it in no time; give 2 or more"
	}
	c.Extranonce2Size = int(size)
	return ""
}

func takeMask(c *Config, value any) string {
	text, _ := value.(string)
	mask, err := strconv.ParseUint(strings.TrimPrefix(text, "0x"), 16, 32)
	if err != nil {
		return `give 8 hexadecimal digits in quotes: "1fffffe0"`
	}
	c.VersionMask = uint32(mask)
	return ""
}

func sections() []string {
	var names []string
	for _, k := range keys {
		if !slices.Contains(names, k.section) {
			names = append(names, k.section)
		}
	}
	return names
}

// elsewhere is what to say of a key that isn't known: it may be known in another section.
func elsewhere(section, name string) string {
	var names []string
	for _, k := range keys {
		if k.name == name {
			return fmt.Sprintf("; it belongs into [%s]", k.section)
		}
		if k.section == section {
			names = append(names, k.name)
		}
	}
	return suggest(name, names)
}

// suggest names what was most likely meant, else all there is.
func suggest(name string, known []string) string {
	best, least := "", 3
	for _, one := range known {
		if far := distance(name, one); far < least {
			best, least = one, far
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	return "; there is: " + strings.Join(known, ", ")
}

// distance is how many letters have to be put in, taken out or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}
