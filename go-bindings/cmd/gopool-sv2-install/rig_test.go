package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	bindings "github.com/gopool-sv2/gopool-sv2/go-bindings"
)

// shapes are the small pools in testdata that the door must fit.
var shapes = []string{"pool", "run"}

// rig is a tree of a test's own and an installer with the tests' layer.
type rig struct {
	t      *testing.T
	root   string
	source fstest.MapFS
	env    map[string]string
}

// outcome is what one run of the installer gave.
type outcome struct {
	code        int
	out, errors string
}

func newRig(t *testing.T, shape string) *rig {
	t.Helper()
	parent, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, root: filepath.Join(parent, "goPool"), env: map[string]string{}}
	if err := os.CopyFS(r.root, os.DirFS(filepath.Join("testdata", shape))); err != nil {
		t.Fatal(err)
	}
	r.source = layerOfTests(t)
	return r
}

// layerOfTests is the module's sources with the layer replaced by that in testdata, hook file apart.
func layerOfTests(t *testing.T) fstest.MapFS {
	t.Helper()
	source := fstest.MapFS{}
	take := func(from fs.FS, name string) {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			t.Fatal(err)
		}
		source[name] = &fstest.MapFile{Data: text}
	}
	for _, name := range []string{
		"go.mod", "go.sum", "LICENSE-MIT", "LICENSE-APACHE", "gopool/sv2bridge_hook.go",
	} {
		take(bindings.Sources, name)
	}
	layer := os.DirFS("testdata/layer")
	names, err := fs.Glob(layer, "*/*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		take(layer, name)
	}
	return source
}

// run runs the installer on the rig's tree.
func (r *rig) run(command string, flags ...string) outcome {
	r.t.Helper()
	var out, complaints bytes.Buffer
	i := &installer{
		source: r.source, version: "v9.9.9", stdout: &out,
		getenv: func(name string) string { return r.env[name] },
	}
	code := i.run(r.t.Context(), append([]string{command, "-C", r.root}, flags...), &complaints)
	return outcome{code, out.String(), complaints.String()}
}

// must runs the installer and insists on success.
func (r *rig) must(command string, flags ...string) outcome {
	r.t.Helper()
	got := r.run(command, flags...)
	if got.code != exitDone || got.errors != "" {
		r.t.Fatalf("%s: exit code %d: %s", command, got.code, got.errors)
	}
	return got
}

// refuses insists that a command refuses for all these reasons, and leaves everything as it is.
func (r *rig) refuses(command string, flags []string, reasons ...string) {
	r.t.Helper()
	before := r.hash()
	got := r.run(command, flags...)
	if got.code != exitRefused {
		r.t.Fatalf("%s: exit code %d, wanted a refusal: %s%s", command, got.code, got.out, got.errors)
	}
	for _, reason := range reasons {
		if !strings.Contains(got.errors, reason) {
			r.t.Errorf("%s: the reasons don't say %q:\n%s", command, reason, got.errors)
		}
	}
	if first := fmt.Sprintf("%s:\n", plural(len(reasons), "reason")); !strings.Contains(got.errors, first) {
		r.t.Errorf("%s: wanted %s:\n%s", command, first, got.errors)
	}
	if strings.Count(got.errors, "What to do: ") != len(reasons) {
		r.t.Errorf("%s: not every reason has a remedy:\n%s", command, got.errors)
	}
	if r.hash() != before {
		r.t.Errorf("%s: refused, and yet changed something", command)
	}
}

// hash is over all names, modes and contents of the folder that the tree is in: overlays, too.
func (r *rig) hash() string {
	r.t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(filepath.Dir(r.root), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %v\n", path, info.Mode())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			fmt.Fprintf(sum, "%q\n", target)
			return err
		case entry.IsDir():
			return nil
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(sum, "%d\n%s\n", len(content), content)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

func (r *rig) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

func (r *rig) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// replace edits a file; what is replaced must be there exactly once.
func (r *rig) replace(name, from, to string) {
	r.t.Helper()
	content := r.read(name)
	if strings.Count(content, from) != 1 {
		r.t.Fatalf("%s has %q %d times", name, from, strings.Count(content, from))
	}
	r.write(name, strings.Replace(content, from, to, 1))
}

func (r *rig) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(r.root, name))
	return err == nil
}

// shell runs a command in the tree, as an operator would.
func (r *rig) shell(line string) string {
	r.t.Helper()
	command := exec.CommandContext(r.t.Context(), "sh", "-c", line)
	command.Dir = r.root
	out, err := command.CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

func hashOfFolder(t *testing.T, folder string) string {
	t.Helper()
	inner := &rig{t: t, root: filepath.Join(folder, "x")}
	return inner.hash()
}
