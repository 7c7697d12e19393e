package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	goversion "go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// goMod is what `go mod edit -json` says of a go.mod, as far as it matters here.
type goMod struct {
	Go      string
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Tool []struct{ Path string }
}

// The names of the go.mod and go.sum that an overlay builds with.
const (
	overlayMod = "gopool.mod"
	overlaySum = "gopool.sum"
)

// goCommand runs the go command in dir and gives what it prints. Its errors say what go said.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	var out, complaint bytes.Buffer
	command.Stdout, command.Stderr = &out, &complaint
	if err := command.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("the go command is not in PATH; goPool is built with it, " +
				"so install Go (https://go.dev/dl) or put its bin folder into PATH")
		}
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

func readGoMod(ctx context.Context, path string) (goMod, error) {
	var mod goMod
	text, err := goCommand(ctx, filepath.Dir(path), "mod", "edit", "-json", path)
	if err != nil {
		return mod, err
	}
	if err := json.Unmarshal(text, &mod); err != nil {
		return mod, fmt.Errorf("read the go command's answer: %w", err)
	}
	return mod, nil
}

// stageModules writes the go.mod and go.sum that goPool needs together with the payload into dir:
// goPool's own, plus what our packages require where goPool hasn't the same or newer. The go command
// then fills in what follows from that (resolveModules).
func stageModules(
	ctx context.Context, dir string, base map[string][]byte, source fs.FS, added *payload,
) error {
	theirs, ours := filepath.Join(dir, overlayMod), filepath.Join(dir, "ours.mod")
	oursText, err := fs.ReadFile(source, "go.mod")
	if err != nil {
		return fmt.Errorf("read our go.mod: %w", err)
	}
	oursSum, err := fs.ReadFile(source, "go.sum")
	if err != nil {
		return fmt.Errorf("read our go.sum: %w", err)
	}
	err = errors.Join(os.WriteFile(theirs, base["go.mod"], 0o644), os.WriteFile(ours, oursText, 0o644))
	if err != nil {
		return fmt.Errorf("stage go.mod: %w", err)
	}
	theirMod, err := readGoMod(ctx, theirs)
	if err != nil {
		return err
	}
	ourMod, err := readGoMod(ctx, ours)
	if err != nil {
		return err
	}
	if err := os.Remove(ours); err != nil {
		return fmt.Errorf("stage go.mod: %w", err)
	}
	need := requirements(theirMod, ourMod, added.imports)
	text := base["go.mod"]
	if len(need.indirect) > 0 { // `go mod edit` has no way to say that a requirement is indirect
		text = append(bytes.Clone(text), "\nrequire (\n"+strings.Join(need.indirect, "")+")\n"...)
		if err := os.WriteFile(theirs, text, 0o644); err != nil {
			return fmt.Errorf("stage go.mod: %w", err)
		}
	}
	if len(need.edits) > 0 {
		edit := append(append([]string{"mod", "edit"}, need.edits...), theirs)
		if _, err := goCommand(ctx, dir, edit...); err != nil {
			return err
		}
	}
	sum := mergeSums(base["go.sum"], oursSum, need.modules)
	if err := os.WriteFile(filepath.Join(dir, overlaySum), sum, 0o644); err != nil {
		return fmt.Errorf("stage go.sum: %w", err)
	}
	return nil
}

// requirement is what goPool's go.mod has to be given.
type requirement struct {
	edits    []string        // arguments for `go mod edit`
	indirect []string        // lines for modules that goPool does not have and we need indirectly
	modules  map[string]bool // all that this is about
}

// requirements compares what the imports need with what goPool has. A module of goPool's is raised to
// the version that our packages were tested with, never lowered.
func requirements(theirs, ours goMod, imports map[string]bool) requirement {
	have := map[string]string{}
	for _, require := range theirs.Require {
		have[require.Path] = require.Version
	}
	need := requirement{modules: map[string]bool{}}
	for _, indirect := range []bool{false, true} {
		for _, require := range ours.Require {
			path, version := require.Path, require.Version
			if require.Indirect != indirect || !indirect && !provides(path, imports) ||
				indirect && (len(need.modules) == 0 || isTool(path, ours)) {
				continue
			}
			need.modules[path] = true
			switch has := have[path]; {
			case has != "" && !newer(version, has):
			case has == "" && indirect:
				need.indirect = append(need.indirect, path+" "+version+" // indirect\n")
			default:
				need.edits = append(need.edits, "-require="+path+"@"+version)
			}
		}
	}
	if len(need.modules) > 0 && goversion.Compare("go"+ours.Go, "go"+theirs.Go) > 0 {
		need.edits = append(need.edits, "-go="+ours.Go)
	}
	return need
}

func provides(module string, imports map[string]bool) bool {
	for imported := range imports {
		if imported == module || strings.HasPrefix(imported, module+"/") {
			return true
		}
	}
	return false
}

func isTool(module string, mod goMod) bool {
	for _, tool := range mod.Tool {
		if tool.Path == module || strings.HasPrefix(tool.Path, module+"/") {
			return true
		}
	}
	return false
}

// mergeSums adds our go.sum's lines of these modules to goPool's.
func mergeSums(theirs, ours []byte, modules map[string]bool) []byte {
	merged := bytes.Clone(theirs)
	if len(merged) > 0 && !bytes.HasSuffix(merged, []byte("\n")) {
		merged = append(merged, '\n')
	}
	has := map[string]bool{}
	for line := range bytes.Lines(theirs) {
		has[strings.TrimSpace(string(line))] = true
	}
	for line := range bytes.Lines(ours) {
		path, _, _ := bytes.Cut(line, []byte(" "))
		if modules[string(path)] && !has[strings.TrimSpace(string(line))] {
			merged = append(merged, line...)
		}
	}
	return merged
}

// resolveModules has the go command complete the staged go.mod and go.sum, then makes sure that
// goPool's packages and tests all load with them unchanged. It loads, and builds nothing.
func resolveModules(ctx context.Context, root, dir string) error {
	flags := []string{
		"-modfile=" + filepath.Join(dir, overlayMod), "-overlay=" + filepath.Join(dir, overlayFile),
		"-deps", "-test", "-f", "{{.ImportPath}}", "./...",
	}
	for _, mode := range []string{"-mod=mod", "-mod=readonly"} {
		listed, err := goCommand(ctx, root, append([]string{"list", mode}, flags...)...)
		if err != nil {
			return fmt.Errorf("the go command can't load goPool together with our packages "+
				"(modules come from the module proxy or the module cache): %w", err)
		}
		if !bytes.Contains(listed, []byte("/"+folder+"/")) {
			return fmt.Errorf("the go command does not see the files added to %s", root)
		}
	}
	return nil
}
