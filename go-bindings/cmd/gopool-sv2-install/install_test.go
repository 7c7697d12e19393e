package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// buildLineOf finds the command that overlay prints.
func buildLineOf(t *testing.T, out string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "cd ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatalf("no build line in %s", out)
	return ""
}

// startAndStop runs a small pool until it listens, stops it with SIGTERM, and gives all it printed.
func startAndStop(t *testing.T, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // no test hangs with a pool
	defer cancel()
	pool := exec.CommandContext(ctx, binary, args...)
	stdout, err := pool.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	pool.Stderr = &complaints
	if err := pool.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewReader(stdout)
	for wanted := 1 + len(args); wanted > 0; wanted-- {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			break
		}
	}
	if err := pool.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, readErr := io.ReadAll(lines)
	all.Write(rest)
	if err := pool.Wait(); err != nil || readErr != nil {
		t.Fatalf("%v %v\n%s%s", err, readErr, all.String(), complaints.String())
	}
	return all.String()
}

// proveDoor runs a small pool with its door closed, then open.
func proveDoor(t *testing.T, shape, binary string) {
	t.Helper()
	if said := startAndStop(t, binary); strings.Contains(said, "sv2bridge") ||
		!strings.Contains(said, "listening") || !strings.Contains(said, "stopped") {
		t.Errorf("with the door closed the pool says:\n%s", said)
	}
	// The layer's own words: a connection with our extranonce size, not TLS, in the miners; a
	// JobManager; a reconnect limiter where the pool has one; the file that fits the pool.
	want := map[string]string{
		"pool": "sv2bridge: hello size=8 tls=false\n<nil> 1 true true unless\n",
		"run":  "sv2bridge: hello size=8 tls=false\n<nil> 1 true false if\n",
	}[shape]
	said := startAndStop(t, binary, "-sv2")
	if !strings.Contains(said, want) || !strings.Contains(said, "sv2bridge: over\n") ||
		!strings.HasSuffix(said, "stopped\n") {
		t.Errorf("with the door open the pool says:\n%s\nwanted:\n%s", said, want)
	}
}

func TestOverlayBuildsTheDoorAndLeavesTheTreeUntouched(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			r := newRig(t, shape)
			r.root = filepath.Join(filepath.Dir(r.root), "it's a pool") // a path that needs quotes
			if err := os.Rename(filepath.Join(filepath.Dir(r.root), "goPool"), r.root); err != nil {
				t.Fatal(err)
			}
			tree := hashOfFolder(t, r.root)
			got := r.must("overlay")
			r.shell("cd / && " + buildLineOf(t, got.out))
			if hashOfFolder(t, r.root) != tree {
				t.Error("the tree has changed")
			}
			proveDoor(t, shape, r.root+".sv2bridge/goPool")
			if !strings.Contains(r.must("check").out, "fits this tree") {
				t.Error("check does not know the overlay")
			}
			// Again, over what is there: the pool that was built stays.
			before := r.hash()
			r.must("overlay")
			if r.hash() != before {
				t.Error("a second overlay differs from the first")
			}
			// A build without the overlay is goPool as it was.
			r.shell("go build -o ../plain . && ! ../plain -sv2 2>/dev/null")
		})
	}
}

func TestApplyBuildsTheDoorAndRevertRestoresEveryByte(t *testing.T) {
	for _, shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			r := newRig(t, shape)
			before := r.hash()
			got := r.must("apply", "-tests")
			for _, line := range []string{"\n+\tsv2bridgeStart(", "\n+++ b/", "new: sv2bridge_start.go ("} {
				if !strings.Contains(got.out, line) {
					t.Errorf("apply does not show %q:\n%s", line, got.out)
				}
			}
			if listed := r.shell("gofmt -l ."); listed != "" {
				t.Errorf("not formatted: %s", listed)
			}
			out := r.shell("go vet ./... && go test -run 'SV2Bridge|Config' -v . && go build -o ../goPool.bin .")
			if !strings.Contains(out, "PASS: TestSV2BridgeIsOff") {
				t.Errorf("our test did not run:\n%s", out)
			}
			proveDoor(t, shape, filepath.Join(filepath.Dir(r.root), "goPool.bin"))
			if err := os.Remove(filepath.Join(filepath.Dir(r.root), "goPool.bin")); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(r.must("check", "-tests").out, "Applied, and as this installer") {
				t.Error("check does not know what was applied")
			}
			applied := r.hash()
			if !strings.Contains(r.must("apply", "-tests").out, "Already applied") || r.hash() != applied {
				t.Error("a second apply did something")
			}
			r.must("revert")
			if r.hash() != before {
				t.Error("revert left a difference")
			}
			if !strings.Contains(r.must("revert").out, "nothing to do") || r.hash() != before {
				t.Error("a second revert did something")
			}
		})
	}
}

// Whatever a tree is like, apply and revert bring back each byte and mode.
func TestRevertRestoresOddTrees(t *testing.T) {
	sum := "example.com/x v1.0.0/go.mod h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for name, spoil := range map[string]func(r *rig){
		"CRLF": func(r *rig) {
			r.write("main.go", strings.ReplaceAll(r.read("main.go"), "\n", "\r\n"))
			r.write("go.mod", strings.ReplaceAll(r.read("go.mod"), "\n", "\r\n"))
		},
		"a go.sum without last newline": func(r *rig) { r.write("go.sum", strings.TrimSpace(sum)) },
		"a go.sum with old lines":       func(r *rig) { r.write("go.sum", sum+"\n\n") },
		"an empty go.sum":               func(r *rig) { r.write("go.sum", "") },
		"a go.mod with odd spaces":      func(r *rig) { r.write("go.mod", "  module   goPool \n\n\n\ngo 1.25\n\n\n") },
		"a file that gofmt would change": func(r *rig) {
			r.replace("main.go", "\tvar serving sync.WaitGroup\n", "\tvar serving   sync.WaitGroup ;\n\n\n\n")
		},
		"a comment above the place": func(r *rig) {
			r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n",
				"\t/* odd\n\t   comment */\n\t// and another\n\tacceptMiners(\"tcp\", plain) // here\n")
		},
		"modes": func(r *rig) {
			r.shell("chmod 0755 main.go && chmod 0600 go.mod")
		},
		"no newline at the end": func(r *rig) { r.write("main.go", strings.TrimSpace(r.read("main.go"))) },
		"other files, links and folders": func(r *rig) {
			r.write("data/config/config.toml", "x = 1\n")
			r.write("sub/sub.go", "package sub\n")
			r.shell("ln -s nowhere .#main.go && ln -s parts.go link.txt && mkdir empty && git init -q .")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			spoil(r)
			before := r.hash()
			r.must("apply")
			r.shell("go build -o ../goPool.bin . && rm ../goPool.bin")
			if name == "CRLF" && strings.Contains(strings.ReplaceAll(r.read("main.go"), "\r\n", ""), "\n") {
				t.Error("lines with other endings were put in")
			}
			applied := r.hash()
			r.must("apply")
			if r.hash() != applied {
				t.Error("a second apply did something")
			}
			r.must("revert")
			if r.hash() != before {
				t.Error("revert left a difference")
			}
		})
	}
}

func TestOverlayWorksBesideAVendorFolder(t *testing.T) {
	r := newRig(t, "pool")
	t.Setenv("GOFLAGS", "-mod=vendor") // what Go would do by itself there, and insisted on
	r.write("vendor/modules.txt", "# nothing\n")
	got := r.must("overlay")
	r.shell(buildLineOf(t, got.out))
	r.refuses("apply", nil, "there is a vendor folder")
}

func TestCheckTellsThatAnOverlayIsOld(t *testing.T) {
	for name, change := range map[string]func(r *rig){
		"goPool changed": func(r *rig) { r.replace("main.go", "// A small pool", "// A big pool") },
		"we changed": func(r *rig) {
			r.source["core/core.go"].Data = append(r.source["core/core.go"].Data, "\nconst More = 1\n"...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			r.must("overlay")
			change(r)
			if got := r.must("check"); !strings.Contains(got.out, "OUT OF DATE") {
				t.Errorf("check says:\n%s", got.out)
			}
			r.must("overlay")
			if got := r.must("check"); strings.Contains(got.out, "OUT OF DATE") {
				t.Errorf("check says:\n%s", got.out)
			}
		})
	}
}

func TestApplyBringsAnOlderInstallationUpToDate(t *testing.T) {
	r := newRig(t, "pool")
	before := r.hash()
	r.must("apply", "-tests")
	r.source["core/more.go"] = r.source["core/core.go"]
	delete(r.source, "core/core.go")
	r.source["gopool/sv2bridge_how_unless.go"].Data = []byte(strings.ReplaceAll(
		string(r.source["gopool/sv2bridge_how_unless.go"].Data), `"unless"`, `"otherwise"`))
	if !strings.Contains(r.must("check").out, "brings it up to date") {
		t.Error("check does not see that another installer was here")
	}
	r.must("apply")
	if r.exists("sv2bridge/core/core.go") || r.exists("sv2bridge_start_test.go") ||
		!strings.Contains(r.read("sv2bridge_how_unless.go"), "otherwise") {
		t.Error("something of the older installation is left")
	}
	r.shell("go build -o ../goPool.bin . && rm ../goPool.bin")
	r.must("revert")
	if r.hash() != before {
		t.Error("revert left a difference")
	}
}
