package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Where the manifest is: in the tree after apply, and at the top of an overlay's folder.
const (
	manifestInTree  = folder + "/manifest.json"
	manifestOverlay = "sv2bridge-manifest.json"
)

// manifestFormat is raised when older installers could misread a manifest.
const manifestFormat = 1

// manifest is what an installation did, and all that is needed to undo it.
type manifest struct {
	Format    int    `json:"format"`
	Installer string `json:"installer"` // version of gopool-sv2-install, to inform
	Tree      string `json:"tree,omitempty"`

	// Hook is the text put into HookFile, line endings as in there.
	HookFile string `json:"hook_file"`
	Hook     string `json:"hook"`

	// Before has each edited file as it was; Added each new file. Paths are relative to the tree.
	Before []beforeFile `json:"before"`
	Added  []addedFile  `json:"added"`
}

// beforeFile is an edited file: its text where only that can bring it back, else its hash. A file that
// existed and has no text here was empty.
type beforeFile struct {
	Path    string `json:"path"`
	Existed bool   `json:"existed"`
	Before  []byte `json:"before,omitempty"` // of go.mod and go.sum
	SHA256  string `json:"sha256_before,omitempty"`
	After   string `json:"sha256_after"`
}

type addedFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func (m *manifest) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the manifest: %w", err)
	}
	return append(text, '\n'), nil
}

func decodeManifest(text []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("the manifest has format %d, this installer reads format %d: "+
			"use the installer that wrote it (%s)", m.Format, manifestFormat, m.Installer)
	}
	for _, path := range m.paths() {
		if !ours(path) && path != m.HookFile && path != "go.mod" && path != "go.sum" {
			return nil, fmt.Errorf("the manifest names %q, which no installer writes: "+
				"it was changed by hand", path)
		}
	}
	if !isRootGoFile(m.HookFile) {
		return nil, fmt.Errorf("the manifest names %q as the file with the hook: "+
			"it was changed by hand", m.HookFile)
	}
	return &m, nil
}

func (m *manifest) paths() []string {
	var paths []string
	for _, file := range m.Before {
		paths = append(paths, file.Path)
	}
	for _, file := range m.Added {
		paths = append(paths, file.Path)
	}
	return paths
}

// sameAs says whether two installations did the same; versions of the installer aside.
func (m *manifest) sameAs(other *manifest) bool {
	left, right := *m, *other
	left.Installer, right.Installer = "", ""
	leftText, leftErr := left.encode()
	rightText, rightErr := right.encode()
	return leftErr == nil && rightErr == nil && string(leftText) == string(rightText)
}
