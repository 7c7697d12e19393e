package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

// The licences travel with the module and with each installation, so they have copies there.
func TestCarriesTheLicencesOfTheRepository(t *testing.T) {
	for _, name := range []string{"LICENSE-MIT", "LICENSE-APACHE"} {
		carried, err := bindings.Sources.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		original, err := os.ReadFile(filepath.Join("..", "..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(carried) != string(original) {
			t.Errorf("go-bindings/%s differs from %s", name, name)
		}
	}
}

func TestOrdersModuleVersions(t *testing.T) {
	ordered := []string{
		"v0.0.0-20180917221912-90fa682c2a6e", "v0.0.0-20260817212433-ac3dfec99bb1", "v0.9.0", "v0.10.0",
		"v1.0.0-1", "v1.0.0-2", "v1.0.0-10", "v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-beta", "v1.0.0",
		"v1.0.1-0.20260102030405-abcdef012345", "v1.0.1", "v1.2.0+incompatible", "v10.0.0",
	}
	for i, left := range ordered {
		for j, right := range ordered {
			if newer(left, right) != (i > j) {
				t.Errorf("newer(%s, %s) is %t", left, right, i <= j)
			}
		}
	}
}

func TestRaisesModulesAndNeverLowersThem(t *testing.T) {
	mod := func(goVersion string, lines ...string) goMod {
		made := goMod{Go: goVersion}
		for _, line := range lines {
			words := strings.Fields(line)
			made.Require = append(made.Require, struct {
				Path, Version string
				Indirect      bool
			}{words[0], words[1], len(words) > 2})
		}
		return made
	}
	ours := mod("1.26.0", "a.org/used v1.5.0", "a.org/unused v1.0.0", "a.org/deep v0.3.0 //",
		"a.org/raised v0.3.0 //", "a.org/tools/x v1.0.0 //")
	ours.Tool = append(ours.Tool, struct{ Path string }{"a.org/tools/x/cmd"})
	theirs := mod("1.27.1", "a.org/used v1.6.0", "a.org/raised v0.2.0", "a.org/other v9.0.0")

	need := requirements(theirs, ours, map[string]bool{"a.org/used/pkg": true, "fmt": true})
	if !slices.Equal(need.edits, []string{"-require=a.org/raised@v0.3.0"}) ||
		!slices.Equal(need.indirect, []string{"a.org/deep v0.3.0 // indirect\n"}) ||
		!slices.Equal(sortedNames(need.modules), []string{"a.org/deep", "a.org/raised", "a.org/used"}) {
		t.Errorf("wrong: %+v", need)
	}
	need = requirements(mod("1.24"), ours, map[string]bool{"a.org/used": true})
	if !slices.Contains(need.edits, "-require=a.org/used@v1.5.0") || !slices.Contains(need.edits, "-go=1.26.0") {
		t.Errorf("wrong: %+v", need)
	}
	// A payload of the standard library only asks for nothing; a name alike is not the module.
	need = requirements(theirs, ours, map[string]bool{"fmt": true, "a.org/usedtoo": true})
	if len(need.edits)+len(need.indirect)+len(need.modules) != 0 {
		t.Errorf("wrong: %+v", need)
	}
}

func TestMergesSumsWithoutTouchingTheirs(t *testing.T) {
	theirs := "b v1 h1:x=\na v1 h1:y="
	ours := "a v1 h1:y=\na v2 h1:z=\nc v1 h1:w=\n"
	got := string(mergeSums([]byte(theirs), []byte(ours), map[string]bool{"a": true}))
	if got != theirs+"\na v2 h1:z=\n" {
		t.Errorf("wrong: %q", got)
	}
	if got := mergeSums(nil, []byte(ours), map[string]bool{"c": true}); string(got) != "c v1 h1:w=\n" {
		t.Errorf("wrong: %q", got)
	}
}

func TestNamesWhatIsDeclared(t *testing.T) {
	source := "package main\n\ntype T struct{ A, B int; C map[string][]byte }\n" +
		"func F[K any](a, b int, _ ...string) (x K, err error) { return }\n" +
		"func (t *T) M() {}\nvar V, W = 1, 2\nconst C = 3\n"
	p, wrong := parsePool(t.TempDir(), map[string][]byte{"a.go": []byte(source)})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for _, name := range []string{
		"type T", "field T.B", "field T.A int", "field T.C map[string][]byte", "func F",
		"func F(int, int, ...string) (K, error)", "func (*T).M", "func (*T).M()", "var W", "const C",
	} {
		if !p.symbols[name] {
			t.Errorf("not there: %s", name)
		}
	}
	for need, like := range map[string]string{
		"func (*T).M(int)": "func (*T).M()", "field T.A string": "field T.A int", "func G()": "", "type U": "",
	} {
		if p.symbols[need] || p.symbols.like(need) != like {
			t.Errorf("%s is like %q", need, p.symbols.like(need))
		}
	}
}

// A diff that patch takes says what changed: it makes the second text of the first.
func TestShowsDiffsThatPatchTakes(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Fatal("this test needs patch(1)")
	}
	dir := t.TempDir()
	text := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "", "}"}), 0, 30)
	count := 0
	rapid.Check(t, func(t *rapid.T) {
		if count++; count > 60 {
			return // each takes a process
		}
		before := strings.Join(append(text.Draw(t, "before"), "end"), "\n") + "\n"
		after := strings.Join(append(text.Draw(t, "after"), "end"), "\n") + "\n"
		shown := diff("x", []byte(before), []byte(after))
		if (shown == "") != (before == after) {
			t.Fatalf("diff says %q", shown)
		}
		if shown == "" {
			return
		}
		path := filepath.Join(dir, "x")
		if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		patch := exec.Command("patch", "-s", path)
		patch.Stdin = strings.NewReader(shown)
		if out, err := patch.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, shown)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != after {
			t.Fatalf("%v: patched to %q, not %q\n%s", err, got, after, shown)
		}
	})
}

// However lines, comments and line endings stand around the place, our lines are found again whole.
func TestHookComesOutAsItWentIn(t *testing.T) {
	source := layerOfTests(t)
	files := map[string][]byte{}
	names, err := filepath.Glob("testdata/pool/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	main := strings.Split(string(files["main.go"]), "\n")
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for index, line := range main {
			if rapid.IntRange(0, 9).Draw(t, fmt.Sprint("insert ", index)) == 0 {
				text.WriteString(rapid.SampledFrom([]string{
					"\n", "// a word\n", "/* two\n lines */\n", "\t \n", "\r\n",
				}).Draw(t, "what"))
			}
			text.WriteString(line + rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end"))
		}
		changed := map[string][]byte{}
		for name, content := range files {
			changed[name] = content
		}
		changed["main.go"] = []byte(text.String())
		before := &tree{root: "/nowhere", files: changed}
		made, wrong, err := makePlan(before, source, false)
		if err != nil || len(wrong) > 0 {
			t.Fatal(err, wrong)
		}
		installed := map[string][]byte{}
		for name, content := range changed {
			installed[name] = content
		}
		installed["main.go"] = made.hook.after
		m := &manifest{Format: manifestFormat, HookFile: "main.go", Hook: made.hook.text}
		after, wrong := (&tree{root: "/nowhere", files: installed}).base(m, baseOptions{})
		if len(wrong) > 0 || string(after["main.go"]) != text.String() {
			t.Fatal("main.go came out otherwise: ", wrong)
		}
	})
}
