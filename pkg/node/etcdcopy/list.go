package etcdcopy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Resolver returns the path to which a link leads, both as this process reaches them.
type Resolver func(link string) (string, error)

// linked are the directories of a member that may be on another disk, behind a link. They are
// copied as directories. Other links are not followed: they may lead anywhere.
var linked = []string{"member", "member/wal", "member/snap"}

// listAll lists directories with everything in them, a directory before its content. It fails
// with ErrWritten where something in them is removed meanwhile.
func listAll(resolve Resolver, directories []string) ([]entry, error) {
	var out []entry
	names := map[string]int{}
	for _, directory := range directories {
		name := filepath.Base(directory)
		if names[name]++; names[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, names[name])
		}
		if _, err := os.Lstat(directory); err != nil {
			return nil, err
		}
		tree, err := listTree(resolve, directory, name)
		if err != nil {
			return nil, err
		}
		out = append(out, tree...)
	}
	return out, nil
}

// listTree lists a directory that has the name below in the copy.
func listTree(resolve Resolver, directory, below string) ([]entry, error) {
	var out []entry
	err := filepath.WalkDir(directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return removedMeanwhile(err)
		}
		within, err := filepath.Rel(directory, path)
		if err != nil {
			return err
		}
		within = filepath.Join(below, within)
		_, ofMember, _ := strings.Cut(within, "/")
		if d.Type() == fs.ModeSymlink && slices.Contains(linked, ofMember) {
			tree, err := listLinked(resolve, path, within)
			out = append(out, tree...)
			return err
		}
		e, err := describe(path)
		e.below = within
		out = append(out, e)
		return removedMeanwhile(err)
	})
	return out, err
}

// listLinked lists the directory behind a link.
func listLinked(resolve Resolver, link, below string) ([]entry, error) {
	target, err := resolve(link)
	if err == nil {
		_, err = os.Lstat(target)
	}
	if err != nil {
		return nil, fmt.Errorf("follow link %q: %w", link, err)
	}
	return listTree(resolve, target, below)
}

// requireLog refuses a copy without etcd's write-ahead log, with which no member starts.
func requireLog(entries []entry) error {
	if slices.ContainsFunc(entries, func(e entry) bool { return !e.mode.IsDir() && filepath.Ext(e.below) == ".wal" }) {
		return nil
	}
	return errors.New("no file of etcd's write-ahead log (*.wal) is in its directories")
}
