package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// change is one file of a tree written (content set) or deleted (nil).
type change struct {
	name    string
	content []byte
}

// commit makes changes in order. When one fails, those made are undone, and the error says so.
func (t *tree) commit(changes []change) error {
	var undo []func() error
	for _, one := range changes {
		back, err := t.change(one)
		if err == nil {
			undo = append(undo, back)
			continue
		}
		for index := len(undo) - 1; index >= 0; index-- {
			if backErr := undo[index](); backErr != nil {
				return fmt.Errorf("%w; and what was done before it could not be undone: %v; "+
					"`revert` finishes that", err, backErr)
			}
		}
		return fmt.Errorf("%w (what was done before it was undone)", err)
	}
	return nil
}

// change makes one change and gives what undoes it.
func (t *tree) change(one change) (undo func() error, err error) {
	path := t.path(one.name)
	mode := fs.FileMode(0o644)
	before, err := os.ReadFile(path)
	existed := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("change %s: %w", one.name, err)
	}
	if existed {
		info, err := os.Lstat(path)
		if err != nil {
			return nil, fmt.Errorf("change %s: %w", one.name, err)
		}
		mode = info.Mode().Perm()
	}
	undo = func() error {
		if !existed {
			return t.remove(one.name)
		}
		return t.write(one.name, before, mode)
	}
	if one.content == nil {
		err = t.remove(one.name)
	} else {
		err = t.write(one.name, one.content, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("change %s: %w", one.name, err)
	}
	return undo, nil
}

// write replaces a file in one step: whoever reads it sees the old or the new text.
func (t *tree) write(name string, content []byte, mode fs.FileMode) error {
	path := t.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".sv2bridge-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(mode), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// remove deletes a file, and the folders of ours that are empty then.
func (t *tree) remove(name string) error {
	if err := os.Remove(t.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, parent := range parentFolders(name) {
		if os.Remove(t.path(parent)) != nil {
			break // not empty: there is more of ours, or something of somebody else's
		}
	}
	return nil
}
