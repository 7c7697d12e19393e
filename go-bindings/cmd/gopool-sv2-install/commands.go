package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// installer is one run of the program.
type installer struct {
	dir     string // the tree, as named by the operator
	out     string // folder for the overlay; empty: beside the tree
	prefix  string // where `make install-lib` put the listener's library; empty: goPool gets none
	tests   bool
	discard bool // revert: our own files go even if edited
	keepMod bool // revert: go.mod and go.sum stay

	source  fs.FS
	version string
	getenv  func(string) string
	stdout  io.Writer
}

func (i *installer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(i.stdout, format+"\n", args...)
}

// errorOr is nil for no problems.
func errorOr(wrong problems) error {
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// open reads the tree.
func (i *installer) open() (*tree, error) {
	t, wrong, err := readTree(i.dir)
	return t, errors.Join(err, errorOr(wrong))
}

// workspace collects what a Go workspace is in the way of.
func (i *installer) workspace(t *tree) problems {
	var wrong problems
	work := i.getenv("GOWORK")
	if work == "" {
		for dir := t.root; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
				work = filepath.Join(dir, "go.work")
				break
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	if work != "" && work != "off" {
		wrong.add("a Go workspace is in force: "+work,
			"in a workspace the go command takes no go.mod but the workspace's",
			"run this with GOWORK=off, and build with GOWORK=off, too")
	}
	return wrong
}

// check says whether goPool here can get its SV2 door, or has it, and shows the lines.
func (i *installer) check(_ context.Context) error {
	t, err := i.open()
	if err != nil {
		return err
	}
	made, wrong, err := makePlan(t, i.source, i.tests)
	if err != nil {
		return err
	}
	wrong = append(wrong, i.workspace(t)...)
	if err := errorOr(wrong); err != nil {
		return err
	}
	m, err := t.manifest()
	if err != nil {
		return err
	}
	i.say("%s: module %s", t.root, t.module(made.base))
	i.say("the accept loop is run at %s, in func %s; our call goes right before it:\n",
		made.where, made.at.start.Name.Name)
	i.say("%s", diff(made.hook.file, made.base[made.hook.file], made.hook.after))
	switch {
	case !made.added.starts:
		i.say("But %v. `overlay` and `apply` will refuse.", errNoLayer)
	case m == nil:
		i.say("Not applied to the tree. `overlay` builds without touching it, `apply` edits it.")
	case t.intact(m, made):
		i.say("Applied, and as this installer would apply it.")
	default:
		i.say("Applied by another installer, or not wholly: `apply` brings it up to date.")
	}
	i.sayOverlay(t, made)
	return nil
}

// intact says whether the tree has all that its manifest says, and this plan would add the same.
func (t *tree) intact(m *manifest, made *plan) bool {
	if m.Hook != made.hook.text || len(m.Added) != len(made.added.files) {
		return false
	}
	for _, added := range m.Added {
		if hashOf(t.files[added.Path]) != added.SHA256 ||
			hashOf(made.added.files[added.Path]) != added.SHA256 {
			return false
		}
	}
	for _, before := range m.Before {
		if before.Path != m.HookFile && hashOf(t.files[before.Path]) != before.After {
			return false
		}
	}
	return strings.Contains(string(t.files[made.hook.file]), m.Hook)
}

// apply edits the tree.
func (i *installer) apply(ctx context.Context) error {
	t, err := i.open()
	if err != nil {
		return err
	}
	made, wrong, err := makePlan(t, i.source, i.tests)
	if err != nil {
		return err
	}
	wrong = append(append(wrong, i.workspace(t)...), i.library()...)
	if info, err := os.Stat(t.path("vendor")); err == nil && info.IsDir() {
		wrong.add("there is a vendor folder", "it would have to hold our modules, too, and `revert` "+
			"could not bring it back as it is", "use `overlay`, or remove the folder")
	}
	touched := []string{"go.mod", "go.sum"}
	if made != nil && made.hook.file != "" {
		touched = append(touched, made.hook.file)
	}
	wrong = append(wrong, t.writable(touched)...)
	if made != nil && !made.added.starts {
		wrong.add(errNoLayer.Error(), "", "use a released gopool-sv2-install")
	}
	if err := errorOr(wrong); err != nil {
		return err
	}
	staging, err := os.MkdirTemp("", "gopool-sv2-install-*")
	if err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	if staging, err = filepath.EvalSymlinks(staging); err != nil {
		return fmt.Errorf("make a folder to work in: %w", err)
	}
	if err := made.stage(ctx, t, i.source, staging, staging); err != nil {
		return err
	}
	return i.write(t, made)
}

// write brings the tree to what the plan says.
func (i *installer) write(t *tree, made *plan) error {
	old, err := t.manifest()
	if err != nil {
		return err
	}
	record := made.record(t, i.version)
	if old != nil && old.sameAs(record) && t.intact(old, made) {
		i.say("Already applied; nothing to do.")
		if i.prefix != "" {
			i.sayBuild(t)
		}
		return nil
	}
	if old != nil {
		if err := t.commit(t.undoing(made.base)); err != nil {
			return fmt.Errorf("take the earlier installation out: %w", err)
		}
	}
	text, err := record.encode()
	if err != nil {
		return err
	}
	edited := made.edited()
	// The manifest first: whatever happens after it, revert knows what to do.
	changes := []change{{manifestInTree, text}}
	for _, name := range sortedNames(made.added.files) {
		changes = append(changes, change{name, made.added.files[name]})
	}
	for _, name := range sortedNames(edited) {
		changes = append(changes, change{name, edited[name]})
	}
	if err := t.commit(changes); err != nil {
		return err
	}
	i.sayDiff(made)
	i.sayBuild(t)
	i.say("Before `git pull`: gopool-sv2-install revert. After it: gopool-sv2-install apply.")
	return nil
}

// sayBuild tells how the tree that has our files is built.
func (i *installer) sayBuild(t *tree) {
	if i.prefix == "" {
		i.say("Applied to %s. Build goPool as you always do: go build -o goPool", t.root)
		return
	}
	with, workspace := i.withLibrary(), ""
	if i.getenv("GOWORK") == "off" {
		workspace = "GOWORK=off "
	}
	i.say("Applied to %s. This builds goPool with the Stratum V2 listener inside:\n", t.root)
	i.say("cd %s && %s%sgo build%s -o goPool .\n", quoted(t.root), workspace, with.environment, with.flags)
}

// undoing are the changes from what is in the tree to its base. The manifest goes last: until then
// the rest can be done again.
func (t *tree) undoing(base map[string][]byte) []change {
	var changes []change
	for _, name := range sortedNames(t.files) {
		content, kept := base[name]
		switch {
		case name == manifestInTree:
		case !kept:
			changes = append(changes, change{name, nil})
		case !bytes.Equal(content, t.files[name]):
			changes = append(changes, change{name, content})
		}
	}
	for _, name := range sortedNames(base) {
		if _, exists := t.files[name]; !exists {
			changes = append(changes, change{name, base[name]})
		}
	}
	return append(changes, change{manifestInTree, nil})
}

// revert takes everything out again.
func (i *installer) revert(_ context.Context) error {
	t, err := i.open()
	if err != nil {
		return err
	}
	m, err := t.manifest()
	if err != nil {
		return err
	}
	base, wrong := t.base(m, baseOptions{discardEdits: i.discard, keepGoMod: i.keepMod})
	if m == nil {
		if err := errorOr(wrong); err != nil {
			return err
		}
		i.say("Nothing was applied to %s; nothing to do.", t.root)
		return nil
	}
	changes := t.undoing(base)
	var touched []string
	for _, one := range changes {
		touched = append(touched, one.name)
	}
	wrong = append(wrong, t.writable(touched)...)
	if err := errorOr(wrong); err != nil {
		return err
	}
	for _, name := range []string{m.HookFile, "go.mod"} {
		i.say("%s", diff(name, t.files[name], base[name]))
	}
	if err := t.commit(changes); err != nil {
		return err
	}
	i.say("Reverted %s: %d files put back or deleted.", t.root, len(changes))
	for _, before := range m.Before {
		if _, exists := base[before.Path]; exists && hashOf(base[before.Path]) != before.SHA256 {
			i.say("%s was changed since `apply`; the change is still there, our lines are not.", before.Path)
		}
	}
	for _, name := range sortedNames(base) {
		if strings.HasPrefix(name, folder+"/") {
			i.say("%s is not ours and was left.", name)
		}
	}
	return nil
}
