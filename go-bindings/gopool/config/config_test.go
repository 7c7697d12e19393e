package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pelletier/go-toml"
)

func read(t *testing.T, text string) (Config, error) {
	t.Helper()
	return readWith(t, text, nil)
}

func readWith(t *testing.T, text string, flags map[string]string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sv2.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Read(path, flags)
	if err != nil {
		err = Problems{strings.ReplaceAll(err.Error(), path, "sv2.toml")}
	}
	return c, err
}

func TestExampleSaysTheDefaultsAndEveryKey(t *testing.T) {
	c, err := read(t, Example)
	if err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("the example gives %+v, %v", c, err)
	}
	tree, err := toml.Load(Example)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if !tree.HasPath([]string{k.section, k.name}) {
			t.Errorf("the example lacks [%s].%s", k.section, k.name)
		}
		if !strings.Contains(Example, "["+k.section+"]."+k.name) && k.name != "allow_groups" {
			t.Errorf("the example does not explain [%s].%s", k.section, k.name)
		}
	}
}

func TestNoFileIsTheDefaults(t *testing.T) {
	c, err := Read(filepath.Join(t.TempDir(), "sv2.toml"), nil)
	if err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestReadsEveryKey(t *testing.T) {
	c, err := read(t, `
[server]
enabled = true
mode = "grpc"
listen = ":4000"
public_host = " pool.example.com "
public_key = "9abc"
[sidecar]
mode = "independent"
program = "/opt/gopool-sv2"
config_file = "/etc/sv2.toml"
key_file = "/etc/sv2.key"
[link]
socket = "/run/gopool/sv2.sock"
allow_users = ["gopool-sv2", "1001"]
allow_groups = ["miners"]
[mining]
extranonce2_size = 0
version_mask = "0x1fffe000"
stale_shares = "strict"
[policy]
password = "trust"
`)
	want := Config{
		Enabled: true, Mode: ModeGRPC, Listen: "0.0.0.0:4000", PublicHost: "pool.example.com", PublicKey: "9abc", Sidecar: Independent,
		Program: "/opt/gopool-sv2", SidecarConfig: "/etc/sv2.toml", KeyFile: "/etc/sv2.key",
		Socket: "/run/gopool/sv2.sock", AllowUsers: []string{"gopool-sv2", "1001"},
		AllowGroups: []string{"miners"}, Extranonce2Size: 0, VersionMask: 0x1fffe000,
		Stale: StaleStrict, Password: PasswordTrust,
	}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestNamesAllProblemsWithLineAndRemedy(t *testing.T) {
	_, err := read(t, `[server]
enabled = "yes"
lisen = ":3336"
listen = "pool.example.com:3336"
mode = "supervised"
moda = "ffi"
[sidecar]
mode = "ffi"
program = 3
[link]
allow_users = "gopool"
[mining]
extranonce2_size = 1
version_mask = 536870880
stale_shares = "host"
[minting]
x = 1
[policy]
whatever = 1
`)
	const want = `sv2.toml:2: [server].enabled: give true or false, without quotes
sv2.toml:3: there is no lisen in [server]; did you mean listen?
sv2.toml:4: [server].listen: "pool.example.com:3336" is no address to listen on: give ":3336" or "203.0.113.5:3336"
sv2.toml:5: [server].mode: give "grpc" or "ffi"; "supervised" belongs into [sidecar].mode
sv2.toml:6: there is no moda in [server]; did you mean mode?
sv2.toml:8: [sidecar].mode: give "supervised" or "independent"; "ffi" belongs into [server].mode
sv2.toml:9: [sidecar].program: give a text, in quotes
sv2.toml:11: [link].allow_users: give a list of texts: ["miners"]
sv2.toml:13: [mining].extranonce2_size: 1 byte is too little: a miner is through with it in no time; give 2 or more
sv2.toml:14: [mining].version_mask: give 8 hexadecimal digits in quotes: "1fffffe0"
sv2.toml:15: [mining].stale_shares: give "pool" or "strict"
sv2.toml:16: there is no [minting]; did you mean mining?
sv2.toml:19: there is no whatever in [policy]; there is: password`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestRejectsWhatIsNoTOMLWithItsLine(t *testing.T) {
	for text, want := range map[string]string{
		"[server]\nlisten = :3336\n":                  "sv2.toml:2: not TOML: ",
		"[server]\nenabled = true\nenabled = false\n": "sv2.toml:3: not TOML: ",
		"enabled = true\n":                            "sv2.toml:1: there is no [enabled]",
		"server = 1\n":                                "sv2.toml:1: server is a section: write [server]",
	} {
		if _, err := read(t, text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q gave %v", text, err)
		}
	}
}

func TestRejectsAddressesThatNobodyCanListenOn(t *testing.T) {
	for _, text := range []string{"", "3336", ":", ":0", ":99999", "0.0.0.0", "host:1", "1.2.3.4:x"} {
		if address, err := Listen(text); err == nil {
			t.Errorf("%q became %q", text, address)
		}
	}
	for text, want := range map[string]string{
		":1": "0.0.0.0:1", "[::]:3336": "[::]:3336", " 10.0.0.1:80": "10.0.0.1:80"} {
		if address, err := Listen(text); err != nil || address != want {
			t.Errorf("%q became %q, %v", text, address, err)
		}
	}
}

func TestWritesTheExampleOnlyWhereGoPoolKeepsExamples(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sv2.toml")
	if err := WriteExample(path); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("wrote %v", entries)
	}
	if err := os.Mkdir(filepath.Join(dir, "examples"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteExample(path); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "examples", "sv2.toml.example")); string(text) != Example {
		t.Errorf("wrote %q, %v", text, err)
	}
}

func TestSidecarConfigurationSurvivesStrangePaths(t *testing.T) {
	state := filepath.Join(t.TempDir(), `a "b" \c`)
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	c, err := Default().In(state)
	if err != nil {
		t.Fatal(err)
	}
	path, err := c.WriteListener(state)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := toml.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"listen.address": DefaultListen, "authority.key_file": filepath.Join(state, keyName),
		"pool.address": "unix:" + filepath.Join(state, socketName),
	} {
		if got := tree.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	c.Mode = ModeFFI
	if path, err = c.WriteListener(state); err != nil {
		t.Fatal(err)
	}
	if tree, err = toml.LoadFile(path); err != nil {
		t.Fatal(err)
	}
	if tree.Has("pool.address") || tree.Get("authority.key_file") != filepath.Join(state, keyName) {
		t.Errorf("within goPool there is nothing to dial: %v", tree)
	}
	c.SidecarConfig = "/etc/own.toml"
	if path, err := c.WriteListener(state); path != "/etc/own.toml" || err != nil {
		t.Errorf("the operator's own: %q, %v", path, err)
	}
}
