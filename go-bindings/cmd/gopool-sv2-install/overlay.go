package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// outFolder is where the overlay goes: what -out says, or beside the tree.
func (i *installer) outFolder(t *tree) (string, error) {
	if i.out == "" {
		return t.root + "." + prefix, nil
	}
	out, err := filepath.Abs(i.out)
	if err != nil {
		return "", fmt.Errorf("find the folder for the overlay: %w", err)
	}
	// The folder itself need not exist yet, but links above it would hide that it is in the tree.
	if parent, err := filepath.EvalSymlinks(filepath.Dir(out)); err == nil {
		out = filepath.Join(parent, filepath.Base(out))
	}
	if existing, err := filepath.EvalSymlinks(out); err == nil {
		out = existing
	}
	return out, nil
}

// overlayProblems collects what is wrong with the folder for the overlay.
func overlayProblems(t *tree, out string) (problems, error) {
	var wrong problems
	if out == t.root || strings.HasPrefix(out, t.root+string(filepath.Separator)) {
		wrong.add(out+" is in goPool's tree", "an overlay is there to leave the tree untouched",
			"name a folder elsewhere: -out DIR")
		return wrong, nil
	}
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the overlay's folder: %w", err)
	}
	m, err := readOverlay(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		wrong.add(out+" has something in it that is no overlay", "files of yours could be replaced",
			"name an empty folder, or one that does not exist: -out DIR")
	case err != nil:
		wrong.add(fmt.Sprintf("%s: %v", out, err), "", "delete that folder, or name another: -out DIR")
	case m.Tree != t.root:
		wrong.add(fmt.Sprintf("%s is the overlay of another tree, %s", out, m.Tree), "",
			"name another folder: -out DIR")
	}
	return wrong, nil
}

func readOverlay(out string) (*manifest, error) {
	text, err := os.ReadFile(filepath.Join(out, manifestOverlay))
	if err != nil {
		return nil, err
	}
	return decodeManifest(text)
}

// overlay makes the files for a build that leaves the tree as it is.
func (i *installer) overlay(ctx context.Context) error {
	t, err := i.open()
	if err != nil {
		return err
	}
	made, wrong, err := makePlan(t, i.source, i.tests)
	if err != nil {
		return err
	}
	wrong = append(append(wrong, i.workspace(t)...), i.library()...)
	if made != nil && !made.added.starts {
		wrong.add(errNoLayer.Error(), "", "use a released gopool-sv2-install")
	}
	out, err := i.outFolder(t)
	if err != nil {
		return err
	}
	more, err := overlayProblems(t, out)
	if err != nil {
		return err
	}
	if err := errorOr(append(wrong, more...)); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(filepath.Dir(out), ".sv2bridge-*")
	if err != nil {
		return fmt.Errorf("make the overlay (another place: -out DIR): %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	if err := made.stage(ctx, t, i.source, staging, out); err != nil {
		return err
	}
	record := made.record(t, i.version)
	record.Tree = t.root
	text, err := record.encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(staging, manifestOverlay), text, 0o644); err != nil {
		return fmt.Errorf("make the overlay: %w", err)
	}
	if err := replaceOverlay(staging, out); err != nil {
		return fmt.Errorf("make the overlay: %w", err)
	}
	i.sayDiff(made)
	i.say("The tree is untouched. This builds goPool with its SV2 door:\n")
	i.say("%s\n", i.buildLine(t, out))
	i.say("Add your own flags (-ldflags, -tags) to it. The overlay holds a copy of %s: after each",
		made.hook.file)
	i.say("`git pull` run this again before you build. To be rid of it: delete %s", out)
	return nil
}

// replaceOverlay moves a staged overlay to its place; other files there, a built pool say, stay. The
// overlay file goes first and comes last, so that no build takes half of it.
func replaceOverlay(staging, out string) error {
	err := errors.Join(os.MkdirAll(out, 0o755),
		os.RemoveAll(filepath.Join(out, overlayFile)), os.RemoveAll(filepath.Join(out, "files")))
	if err != nil {
		return err
	}
	for _, name := range []string{manifestOverlay, "files", overlayMod, overlaySum, overlayFile} {
		if err := os.Rename(filepath.Join(staging, name), filepath.Join(out, name)); err != nil {
			return err
		}
	}
	return nil
}

// buildLine is the command that builds goPool with the overlay. -mod=readonly: a vendor folder, which
// the go command would take by itself, lacks our modules.
func (i *installer) buildLine(t *tree, out string) string {
	environment := ""
	if i.getenv("GOWORK") == "off" {
		environment = "GOWORK=off "
	}
	with := i.withLibrary()
	if with.folder != "" {
		with.folder = "mkdir -p " + quoted(with.folder) + " && "
	}
	return fmt.Sprintf("cd %s && %s%s%sgo build%s -mod=readonly -modfile=%s -overlay=%s -o %s .",
		quoted(t.root), with.folder, environment, with.environment, with.flags,
		quoted(filepath.Join(out, overlayMod)), quoted(filepath.Join(out, overlayFile)),
		quoted(filepath.Join(out, "goPool")))
}

// quoted is a word for a shell.
func quoted(word string) string {
	if strings.ContainsFunc(word, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !plain && !strings.ContainsRune("/._-+@%:,=", r)
	}) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// sayOverlay tells whether the overlay there is, if any, fits the tree as it is now.
func (i *installer) sayOverlay(t *tree, made *plan) {
	out, err := i.outFolder(t)
	if err != nil {
		return
	}
	m, err := readOverlay(out)
	if err != nil || m.Tree != t.root {
		return
	}
	current := m.HookFile == made.hook.file && m.Hook == made.hook.text
	for _, before := range m.Before {
		current = current && (!before.Existed || before.SHA256 == hashOf(made.base[before.Path]))
	}
	files := map[string]string{}
	for _, added := range m.Added {
		files[added.Path] = added.SHA256
	}
	for name, content := range made.added.files {
		current = current && files[name] == hashOf(content)
	}
	if current && len(files) == len(made.added.files) {
		i.say("The overlay in %s fits this tree.", out)
		return
	}
	i.say("The overlay in %s is OUT OF DATE: run `overlay` again before you build.", out)
}

// sayDiff shows what changes in goPool's files, and lists what is added.
func (i *installer) sayDiff(made *plan) {
	edited := made.edited()
	for _, name := range sortedNames(edited) {
		if name == "go.sum" { // hashes: nobody reads them
			from, to := lines(made.base[name]), lines(edited[name])
			i.say("go.sum: %s before, %s now\n", plural(len(from), "line"), plural(len(to), "line"))
			continue
		}
		i.say("%s", diff(name, made.base[name], edited[name]))
	}
	for _, name := range sortedNames(made.added.files) {
		i.say("new: %s (%d bytes)", name, len(made.added.files[name]))
	}
	i.say("")
}
