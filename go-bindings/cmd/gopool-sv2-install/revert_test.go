package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRevertKeepsWhatChangedAroundOurLines(t *testing.T) {
	r := newRig(t, "pool")
	other := newRig(t, "pool")
	r.must("apply")
	for _, one := range []*rig{r, other} {
		one.replace("main.go", "\tfmt.Println(\"stopped\")\n", "\tfmt.Println(\"stopped now\")\n")
		one.replace("main.go", "import (\n", "import (\n\t_ \"embed\"\n")
	}
	r.must("apply") // still applied
	got := r.must("revert")
	if r.read("main.go") != other.read("main.go") || r.exists("sv2bridge") || r.exists("sv2bridge_start.go") {
		t.Errorf("main.go is now:\n%s", r.read("main.go"))
	}
	if strings.Contains(got.out, "is not ours") {
		t.Errorf("revert says:\n%s", got.out)
	}
}

// goPool's go.sum is empty as long as it needs nothing; ours doesn't leave it so.
func TestRevertBringsAnEmptyFileBack(t *testing.T) {
	r := newRig(t, "run")
	useRealPackages(r)
	r.write("go.sum", "")
	before := r.hash()
	r.must("apply")
	if r.read("go.sum") == "" {
		t.Fatal("go.sum was not changed: the test shows nothing")
	}
	r.must("apply") // reads the manifest, too
	r.must("revert")
	if r.hash() != before {
		t.Errorf("revert left a difference; go.sum is there: %v", r.exists("go.sum"))
	}
}

func TestRevertFindsLinesThatMovedToAnotherFile(t *testing.T) {
	r := newRig(t, "pool")
	before := r.hash()
	r.must("apply")
	r.shell("mv main.go start.go")
	r.must("revert")
	r.shell("mv start.go main.go")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}

func TestRefusesToTouchOurLinesOnceEdited(t *testing.T) {
	for name, edit := range map[string]func(r *rig){
		"inside":    func(r *rig) { r.replace("main.go", "sv2bridgeStart(ctx,", "sv2bridgeStart(nil,") },
		"a mark":    func(r *rig) { r.replace("main.go", "\t// sv2bridge:end\n", "") },
		"the other": func(r *rig) { r.replace("main.go", "// sv2bridge:begin", "// sv2bridge begin") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			r.must("apply")
			edit(r)
			for _, command := range []string{"revert", "apply", "check", "overlay"} {
				if got := r.run(command); got.code != exitRefused ||
					!strings.Contains(got.errors, "the lines of main.go marked") {
					t.Errorf("%s: exit code %d: %s", command, got.code, got.errors)
				}
			}
			r.refuses("revert", nil, "the lines of main.go marked")
		})
	}
	t.Run("twice", func(t *testing.T) {
		r := newRig(t, "pool")
		r.must("apply")
		r.write("copy.go", strings.Replace(r.read("main.go"), "func main()", "func copied()", 1))
		got := r.run("revert")
		if got.code != exitRefused || !strings.Contains(got.errors, "more than once: copy.go, main.go") {
			t.Errorf("exit code %d: %s", got.code, got.errors)
		}
	})
}

func TestRevertWorksAfterOurLinesWereDeletedAsItAdvises(t *testing.T) {
	r := newRig(t, "pool")
	before := r.hash()
	r.must("apply")
	r.replace("main.go", "sv2bridgeStart(ctx,", "sv2bridgeStart(nil,")
	r.refuses("revert", nil, "the lines of main.go marked")
	r.shell("sed -i '/sv2bridge:begin/,/sv2bridge:end/d' main.go")
	r.must("revert")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}

func TestRefusesToDeleteOurFilesOnceEdited(t *testing.T) {
	r := newRig(t, "pool")
	before := r.hash()
	r.must("apply")
	r.write("sv2bridge_start.go", r.read("sv2bridge_start.go")+"\n// mine\n")
	r.write("sv2bridge/core/core.go", r.read("sv2bridge/core/core.go")+"\n// mine\n")
	reasons := []string{"sv2bridge/core/core.go was edited", "sv2bridge_start.go was edited"}
	r.refuses("revert", nil, reasons...)
	r.refuses("apply", nil, reasons...)
	r.must("revert", "-discard-edits")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}

func TestRefusesToRevertAChangedGoMod(t *testing.T) {
	r := newRig(t, "pool")
	r.must("apply")
	applied := r.read("go.mod")
	r.write("go.mod", applied+"\n// mine\n")
	r.refuses("revert", nil, "go.mod was changed since `apply`")
	r.must("revert", "-keep-go-mod")
	if r.read("go.mod") != applied+"\n// mine\n" || r.exists("sv2bridge") ||
		strings.Contains(r.read("main.go"), "sv2bridge") {
		t.Error("go.mod was not kept, or the rest was")
	}
}

func TestRevertLeavesWhatIsNotOurs(t *testing.T) {
	r := newRig(t, "pool")
	r.must("apply")
	r.write("sv2bridge/notes.txt", "mine")
	if got := r.must("revert"); !strings.Contains(got.out, "sv2bridge/notes.txt is not ours") {
		t.Errorf("revert says:\n%s", got.out)
	}
	if r.read("sv2bridge/notes.txt") != "mine" {
		t.Error("the file was changed")
	}
}

// Git puts back the files that it knows, and leaves the rest.
func TestRevertFinishesWhatGitBegan(t *testing.T) {
	r := newRig(t, "pool")
	r.shell("git init -q . && git add -A && git -c user.name=t -c user.email=t@example.com commit -qm tree")
	r.must("apply")
	r.shell("git checkout -q .")
	r.must("revert")
	if left := r.shell("git status --short --untracked-files=all"); left != "" {
		t.Errorf("something is left:\n%s", left)
	}
}

// An apply that was cut off at any point can be reverted, and done again.
func TestSurvivesAnApplyThatWasCutOff(t *testing.T) {
	whole := newRig(t, "pool")
	whole.must("apply")
	added := []string{
		"sv2bridge/manifest.json", "sv2bridge/LICENSE-APACHE", "sv2bridge/LICENSE-MIT",
		"sv2bridge/core/core.go", "sv2bridge_hook.go", "sv2bridge_how_unless.go", "sv2bridge_start.go",
		"main.go",
	}
	for done := 1; done <= len(added); done++ {
		r := newRig(t, "pool")
		before := r.hash()
		cutOff := func() {
			for _, name := range added[:done] {
				r.write(name, whole.read(name))
			}
		}
		cutOff()
		r.must("revert")
		if r.hash() != before {
			t.Errorf("cut off after %d files: revert left a difference", done)
		}
		cutOff()
		r.must("apply")
		if hashOfFolder(t, r.root) == before || r.read("main.go") != whole.read("main.go") {
			t.Errorf("cut off after %d files: apply did not finish", done)
		}
		r.must("revert")
		if r.hash() != before {
			t.Errorf("cut off after %d files: the second revert left a difference", done)
		}
	}
}

// A file that can't be written makes apply undo what it did before that.
func TestUndoesAnApplyThatFails(t *testing.T) {
	r := newRig(t, "pool")
	if err := os.MkdirAll(filepath.Join(r.root, "sv2bridge_start.go", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := r.hash()
	got := r.run("apply")
	if got.code != exitFailed || !strings.Contains(got.errors, "was undone") {
		t.Errorf("exit code %d: %s", got.code, got.errors)
	}
	if r.hash() != before {
		t.Error("something is left")
	}
}

func TestRefusesManifestsThatNobodyWrote(t *testing.T) {
	for name, edit := range map[string]func(text string) string{
		"no JSON":       func(string) string { return "{" },
		"a later one":   func(text string) string { return strings.Replace(text, `"format": 1`, `"format": 2`, 1) },
		"a path out":    func(text string) string { return strings.Replace(text, `"sv2bridge_start.go"`, `"../x"`, 1) },
		"goPool's file": func(text string) string { return strings.Replace(text, `"sv2bridge_start.go"`, `"miner.go"`, 1) },
		"a path around": func(text string) string {
			return strings.Replace(text, `"sv2bridge_start.go"`, `"sv2bridge/../miner.go"`, 1)
		},
		"another hook file": func(text string) string { return strings.ReplaceAll(text, `"main.go"`, `"/etc/passwd"`) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			r.must("apply")
			text := r.read("sv2bridge/manifest.json")
			r.write("sv2bridge/manifest.json", edit(text))
			if r.read("sv2bridge/manifest.json") == text {
				t.Fatal("the manifest was not edited")
			}
			before := r.hash()
			for _, command := range []string{"revert", "apply", "check"} {
				if got := r.run(command); got.code != exitFailed || !strings.Contains(got.errors, "manifest") {
					t.Errorf("%s: exit code %d: %s", command, got.code, got.errors)
				}
			}
			if r.hash() != before {
				t.Error("something was changed")
			}
		})
	}
}
