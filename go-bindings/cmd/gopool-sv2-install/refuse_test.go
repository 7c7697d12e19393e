package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// spoilt is a tree in which the door's place is not clear, and what has to be said about it.
type spoilt struct {
	name    string
	spoil   func(r *rig)
	reasons []string
}

// unclear are trees that every command refuses but revert.
var unclear = []spoilt{
	{"no go.mod", func(r *rig) { r.shell("rm go.mod") }, []string{"has no go.mod"}},
	{"a go.mod without module", func(r *rig) { r.write("go.mod", "go 1.26\n") },
		[]string{"go.mod has no module line"}},
	{"no Go", func(r *rig) { r.shell("rm *.go") }, []string{"no Go file of package main"}},
	{"another program", func(r *rig) {
		r.shell("rm *.go")
		r.write("main.go", "package main\n\nfunc main() {}\n")
	}, []string{"no `type Config`", "no `type JobManager`", "no `type MinerConn`", "no `type MinerRegistry`",
		"no `func (*MinerConn).handle()`", "no `func (*MinerRegistry).Add(*MinerConn)`",
		"no `type reconnectTracker`", "accept loop was not found: and no call of it is anywhere"}},
	{"a file that is no Go", func(r *rig) { r.replace("miner.go", "package main\n", "package main\n<<<<<<< HEAD\n") },
		[]string{"can't read the Go of miner.go:2"}},
	{"no statement that runs the loop", func(r *rig) { r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n", "") },
		[]string{"nothing at the top level of `main` runs the accept loop `acceptMiners`"}},
	{"only on a goroutine", func(r *rig) {
		r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n", "\tgo acceptMiners(\"tcp\", plain)\n\t<-ctx.Done()\n")
	}, []string{"nothing at the top level of `main` runs the accept loop"}},
	{"two statements that run it", func(r *rig) {
		r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n", "\tacceptMiners(\"tcp\", plain)\n\tacceptMiners(\"b\", plain)\n")
	}, []string{"there more than once: main.go:80, main.go:81"}},
	{"two functions with it", func(r *rig) {
		copied := strings.Replace(r.read("main.go"), "func main() {", "func again() {", 1)
		r.write("again.go", copied)
	}, []string{"there more than once: again.go:80, main.go:80"}},
	{"two calls in the loop", func(r *rig) {
		r.replace("main.go", "\t\t\tminers.Add(mc)\n", "\t\t\tminers.Add(mc)\n\t\t\tmc = NewMinerConn(nil)\n")
	}, []string{"calls NewMinerConn 2 times"}},
	{"a loop that is no local function", func(r *rig) {
		r.replace("main.go", "\tacceptMiners := func(label string, l net.Listener) {\n",
			"\tserver := struct{ serve func(string, net.Listener) }{}\n"+
				"\tserver.serve = func(label string, l net.Listener) {\n")
		r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n", "\tserver.serve(\"tcp\", plain)\n")
		r.replace("main.go", "\t\tgo acceptMiners(\"tls\", secure)\n", "\t\tgo server.serve(\"tls\", secure)\n")
	}, []string{"it is called at main.go:65, in another shape"}},
	{"something before the statement", func(r *rig) {
		r.replace("main.go", "\tacceptMiners(\"tcp\", plain)\n", "\tstop(); acceptMiners(\"tcp\", plain)\n")
	}, []string{"something stands before the statement on its line"}},
	{"another parameter", func(r *rig) {
		r.replace("miner.go", "isTLS bool,\n", "isTLS bool, reader *bufio.Reader,\n")
		r.replace("main.go", "label == \"tls\")", "label == \"tls\", bufio.NewReader(conn))")
	}, []string{"the argument `bufio.NewReader(conn)` of NewMinerConn is not a plain name"}},
	{"an argument of the loop's own", func(r *rig) {
		r.replace("miner.go", "isTLS bool,\n", "isTLS bool, host string,\n")
		r.replace("main.go", "\t\t\tmc := NewMinerConn(", "\t\t\thost := \"x\"\n\t\t\tmc := NewMinerConn(")
		r.replace("main.go", "label == \"tls\")", "label == \"tls\", host)")
	}, []string{"the argument `host` of NewMinerConn is declared inside of the accept loop"}},
	{"an argument that is hidden", func(r *rig) {
		r.replace("main.go", "\t\t\tmc := NewMinerConn(", "\t\t\tmetrics := metrics\n\t\t\tmc := NewMinerConn(")
	}, []string{"the argument `metrics` of NewMinerConn is declared inside of the accept loop"}},
	{"an argument from nowhere", func(r *rig) { r.replace("main.go", "current, metrics, label", "current, counts, label") },
		[]string{"the argument `counts` of NewMinerConn is not declared at the top level of `main`"}},
	{"fewer arguments than parameters", func(r *rig) { r.replace("main.go", "current, metrics, label", "current, label") },
		[]string{"NewMinerConn has 6 parameters and is called with 5 arguments"}},
	{"two connections", func(r *rig) {
		r.replace("miner.go", "metrics *PoolMetrics,", "metrics net.Conn,")
	}, []string{"func NewMinerConn has 2 parameters of type net.Conn"}},
	{"a configuration by address", func(r *rig) { r.replace("miner.go", "cfg Config, metrics", "cfg *Config, metrics") },
		[]string{"the argument `current` of NewMinerConn is declared inside", "has 0 parameters of type Config"}},
	{"an unclear configuration", func(r *rig) { r.replace("main.go", "status.Config()", "configs[0]") },
		[]string{"where the accept loop's `current` comes from is not clear"}},
	{"NewMinerConn with an error", func(r *rig) {
		r.replace("miner.go", ") *MinerConn {\n\treturn", ") (*MinerConn, error) {\n\treturn")
	}, []string{"func NewMinerConn(context.Context, net.Conn, *JobManager, Config, *PoolMetrics, bool) " +
		"(*MinerConn, error) does not return just a *MinerConn"}},
	{"jobs from elsewhere", func(r *rig) {
		r.replace("main.go", "jobs := NewJobManager(cfg, metrics, payoutScript)", "jobs := work()")
	}, []string{"`jobs` is not made by NewJobManager(…)"}},
	{"no miners", func(r *rig) { r.replace("main.go", "miners := NewMinerRegistry()", "miners := people()") },
		[]string{"one variable made by NewMinerRegistry(…) before the accept loop; found: none"}},
	{"two limiters", func(r *rig) {
		r.replace("main.go", "var churn *reconnectTracker", "var churn, other *reconnectTracker")
	}, []string{"one variable declared as `var x *reconnectTracker` before the accept loop; " +
		"found: churn, other"}},
	{"no wait group", func(r *rig) { r.replace("main.go", "\t\t\tserving.Add(1)\n", "") },
		[]string{"one variable declared as `var x sync.WaitGroup`"}},
	{"net under another name", func(r *rig) { r.replace("main.go", "\t\"net\"\n", "\tnet \"example.com/net\"\n") },
		[]string{"main.go does not import net"}},
	{"a method with other types", func(r *rig) { r.replace("miner.go", ") handle() {", ") handle(limit int) error {") },
		[]string{"no `func (*MinerConn).handle()`, but `func (*MinerConn).handle(int) error`"}},
	{"a name of ours in a test", func(r *rig) { r.write("x_test.go", "package main\n\nvar sv2bridgeX int\n") },
		[]string{"x_test.go:3: goPool declares `sv2bridgeX`"}},
	{"a file of ours", func(r *rig) { r.write("sv2bridge_x.go", "package main\n") },
		[]string{"sv2bridge_x.go is in the way"}},
	{"a folder of ours", func(r *rig) { r.write("sv2bridge/x/x.go", "package x\n") },
		[]string{"sv2bridge/x/x.go is in the way"}},
	{"a link for our folder", func(r *rig) { r.shell("mkdir ../else && ln -s ../else sv2bridge") },
		[]string{"sv2bridge is neither a file nor a folder"}},
	{"our marks", func(r *rig) {
		r.replace("main.go", "\tvar serving", "\t// sv2bridge:begin\n\t// sv2bridge:end\n\tvar serving")
	}, []string{"the lines of main.go marked"}},
	{"our flag", func(r *rig) {
		r.replace("main.go", "\tflag.Parse()\n", "\tflag.BoolVar(new(bool), \"sv2\", false, \"\")\n\tflag.Parse()\n")
	}, []string{"main.go:16: goPool has a flag -sv2 of its own"}},
	{"a workspace above", func(r *rig) { r.shell("printf 'go 1.26.0\\n' > ../go.work") },
		[]string{"a Go workspace is in force: "}},
	{"many things at once", func(r *rig) {
		r.write("x_test.go", "package main\n\nvar sv2bridgeX, sv2bridgeY int\n")
		r.replace("main.go", "\t\t\tserving.Add(1)\n", "")
		r.write("go.work", "go 1.26.0\n")
	}, []string{"sv2bridgeX", "sv2bridgeY", "sync.WaitGroup", "a Go workspace"}},
}

func TestRefusesUnclearTrees(t *testing.T) {
	for _, one := range unclear {
		t.Run(one.name, func(t *testing.T) {
			r := newRig(t, "pool")
			one.spoil(r)
			for _, command := range []string{"check", "overlay", "apply"} {
				r.refuses(command, nil, one.reasons...)
			}
		})
	}
}

// What is only in the way of edits is not in the way of an overlay.
func TestRefusesToEditFilesThatMustStay(t *testing.T) {
	for name, one := range map[string]struct {
		spoil  func(r *rig)
		reason string
	}{
		"read-only": {func(r *rig) { r.shell("chmod 0444 main.go") }, "main.go is read-only"},
		"a symbolic link": {func(r *rig) { r.shell("mv main.go ../real.go && ln -s ../real.go main.go") },
			"main.go is a symbolic link"},
		"go.mod is a link": {func(r *rig) { r.shell("mv go.mod ../real.mod && ln -s ../real.mod go.mod") },
			"go.mod is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			one.spoil(r)
			r.refuses("apply", nil, one.reason)
			got := r.must("overlay")
			r.shell(buildLineOf(t, got.out))
			proveDoor(t, "pool", r.root+".sv2bridge/goPool")
		})
	}
}

func TestRefusesFoldersThatAreNoPlaceForAnOverlay(t *testing.T) {
	r := newRig(t, "pool")
	parent := filepath.Dir(r.root)
	r.refuses("overlay", []string{"-out", r.root}, "is in goPool's tree")
	r.refuses("overlay", []string{"-out", filepath.Join(r.root, "out")}, "is in goPool's tree")
	link := filepath.Join(parent, "link")
	if err := os.Symlink(r.root, link); err != nil {
		t.Fatal(err)
	}
	r.refuses("overlay", []string{"-out", filepath.Join(link, "out")}, "is in goPool's tree")
	r.refuses("overlay", []string{"-out", link}, "is in goPool's tree")

	full := filepath.Join(parent, "full")
	if err := os.MkdirAll(full, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.refuses("overlay", []string{"-out", full}, "has something in it that is no overlay")

	r.must("overlay")
	second := newRig(t, "run")
	second.refuses("overlay", []string{"-out", r.root + ".sv2bridge"}, "is the overlay of another tree")
}

func TestWorksWithAWorkspaceLeftAside(t *testing.T) {
	r := newRig(t, "pool")
	r.write("go.work", "go 1.26.0\n\nuse .\n")
	r.refuses("overlay", nil, "a Go workspace is in force")
	t.Setenv("GOWORK", "off")
	r.env["GOWORK"] = "off"
	line := buildLineOf(t, r.must("overlay").out)
	if !strings.Contains(line, "GOWORK=off go build") {
		t.Errorf("the build line does not leave the workspace aside: %s", line)
	}
	r.shell(line)
}

func TestRefusesWithoutALayer(t *testing.T) {
	r := newRig(t, "pool")
	delete(r.source, "gopool/sv2bridge_start.go")
	for _, command := range []string{"overlay", "apply"} {
		r.refuses(command, nil, "built without the goPool layer")
	}
	if got := r.must("check"); !strings.Contains(got.out, "built without the goPool layer") {
		t.Errorf("check says:\n%s", got.out)
	}
}

// A layer that can't be packed is our own fault, not the operator's tree's.
func TestFailsOnALayerThatCantBePacked(t *testing.T) {
	for name, spoil := range map[string]func(source fstest.MapFS){
		"no build tag": func(source fstest.MapFS) {
			source["gopool/sv2bridge_more.go"] = &fstest.MapFile{Data: []byte("package main\n")}
		},
		"another build tag": func(source fstest.MapFS) {
			source["gopool/sv2bridge_more.go"] = &fstest.MapFile{Data: []byte("//go:build linux\n\npackage main\n")}
		},
		"no Go": func(source fstest.MapFS) { source["gopool/sv2bridge_more.go"] = &fstest.MapFile{Data: []byte("x")} },
		"a package that is not there": func(source fstest.MapFS) {
			delete(source, "core/core.go")
			delete(source, "core/core_test.go")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "pool")
			spoil(r.source)
			before := r.hash()
			got := r.run("apply")
			if got.code != exitFailed || got.errors == "" || r.hash() != before {
				t.Errorf("exit code %d: %s", got.code, got.errors)
			}
		})
	}
}

func TestFailsWhenGoCantLoadTheResult(t *testing.T) {
	r := newRig(t, "pool")
	r.replace("parts.go", "import (\n", "import (\n\t_ \"goPool/nowhere\"\n")
	before := r.hash()
	for _, command := range []string{"overlay", "apply"} {
		got := r.run(command)
		if got.code != exitFailed || !strings.Contains(got.errors, "goPool/nowhere") || r.hash() != before {
			t.Errorf("%s: exit code %d: %s", command, got.code, got.errors)
		}
	}
}
