package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestOneWordPutsTheListenerIntoGoPool(t *testing.T) {
	want := Default()
	want.Enabled, want.Mode = true, ModeFFI
	example := strings.Replace(Example, "enabled = false", "enabled = true", 1)
	c, err := read(t, strings.Replace(example, `mode = "grpc"`, `mode = "ffi"`, 1))
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("in the file: %+v, %v", c, err)
	}
	c, err = readWith(t, example, map[string]string{"sv2-mode": "ffi"})
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("as a flag: %+v, %v", c, err)
	}
}

func TestSaysWhatHasNoEffectWithoutASidecar(t *testing.T) {
	c, err := readWith(t, `[server]
mode = "ffi"
[sidecar]
mode = "supervised"
[link]
allow_users = ["gopool-sv2"]
socket = "/run/gopool/sv2.sock"
allow_groups = []
`, map[string]string{"sv2-program": "/opt/gopool-sv2"})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(c.Unused, "\n")
	for index, want := range []string{"sv2.toml:6: [link].allow_users: ", "sv2.toml:7: [link].socket: ", "-sv2-program: "} {
		if index >= len(c.Unused) || !strings.Contains(c.Unused[index],
			want+`not used: there is no sidecar with mode = "ffi"`) {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
	if len(c.Unused) != 3 {
		t.Errorf("said:\n%s", got)
	}
	if c, err = read(t, "[link]\nsocket = \"/run/x\"\n"); err != nil || c.Unused != nil {
		t.Errorf("with a sidecar: %v, %v", c.Unused, err)
	}
}

func TestRejectsASidecarOnItsOwnWhereThereIsNone(t *testing.T) {
	const remedy = `a sidecar of its own is for mode = "grpc": leave this out, or give that in [server]`
	for _, one := range []struct {
		text  string
		flags map[string]string
		want  string
	}{
		{"[server]\nmode = \"ffi\"\n[sidecar]\nmode = \"independent\"\n", nil, "sv2.toml:4: [sidecar].mode: " + remedy},
		{"[sidecar]\nmode = \"independent\"\n", map[string]string{"sv2-mode": "ffi"}, "sv2.toml:2: [sidecar].mode: " + remedy},
		{"[server]\nmode = \"ffi\"\n", map[string]string{"sv2-sidecar": "independent"}, "-sv2-sidecar: " + remedy},
	} {
		if _, err := readWith(t, one.text, one.flags); err == nil || !strings.HasPrefix(err.Error(), one.want) {
			t.Errorf("want %s, got %v", one.want, err)
		}
	}
}

func TestFlagsOverrideTheFileAndAreCheckedWithIt(t *testing.T) {
	text := "[server]\nenabled = true\nlisten = \":1\"\n[sidecar]\nprogram = \"a\"\n"
	c, err := readWith(t, text, map[string]string{"sv2": "false", "sv2-listen": ":2", "sv2-sidecar": "independent",
		"sv2-program": "b"})
	if err != nil || c.Enabled || c.Listen != "0.0.0.0:2" || c.Sidecar != Independent || c.Program != "b" {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = readWith(t, "[server]\nmode = 3\n", map[string]string{"sv2-mode": "fii", "sv2-listen": "x", "sv2-y": ""})
	const want = `sv2.toml:2: [server].mode: give "grpc" or "ffi"
-sv2-listen: "x" is no address to listen on: give ":3336" or "203.0.113.5:3336"
-sv2-mode: give "grpc" or "ffi"
-sv2-y: there is no such flag`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
