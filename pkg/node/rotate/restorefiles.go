package rotate

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// action is the treatment of one item in a rollback.
type action int

const (
	restored action = iota // the old certificate is restored
	kept                   // the new one stays, since the old one has expired
	left                   // a third one stays, which another program has written since
)

// fate is the outcome of a rollback for one item.
type fate struct {
	action
	found string // fingerprint of the certificate on disk when that was decided; empty: none
	fits  bool   // its key fits
}

// restoreFiles restores the files of the old certificates, except where that would do harm: see
// [committing.decideFates]. It continues after an error.
func (c *committing) restoreFiles() (problems []string) {
	c.fates = c.decideFates()
	dir := backupDir(c.rotation, c.t.Order)
	for n, i := range c.t.Items {
		var err error
		func() {
			defer recoverAs(&err)
			if c.fates[n].action == restored {
				err = store.RestoreStore(c.Root, i.Certificate.Store, itemDir(dir, n), i.New.FingerprintSHA256)
			} else {
				err = store.DiscardStaged(c.Root, i.Certificate.Store)
			}
		}()
		if err != nil {
			problems = append(problems, err.Error())
		}
		if f := c.fates[n]; f.action == left && !f.fits {
			problems = append(problems, fmt.Sprintf("%s shares a file with a certificate that another program has changed since, and its key does not fit it", i.Certificate.Name))
		}
	}
	return problems
}

// decideFates decides whether to restore each item. An expired certificate never replaces a
// complete and valid successor. A commit whose process ended is rolled back later, perhaps
// weeks later: a third certificate, which an operator or the kubelet has written in between, is
// kept then. Items that share a file have one fate.
func (c *committing) decideFates() []fate {
	fates := make([]fate, len(c.t.Items))
	found := make([]store.Generation, len(c.t.Items))
	for n, i := range c.t.Items {
		generation, leaf := store.CompareStore(c.Root, i.Certificate.Store, i.Certificate.FingerprintSHA256, i.New.FingerprintSHA256)
		found[n] = generation
		fates[n] = fate{fits: generation != store.Mixed}
		if leaf != nil {
			fates[n].found = certs.Fingerprint(leaf)
		}
		switch {
		case generation == store.New && c.onlyNewIsValid(i):
			fates[n].action = kept
		case generation == store.Foreign && (c.late || c.replacesExpired(i, leaf)):
			fates[n].action = left
		}
	}
	for _, group := range c.groupSharing() {
		has := func(a action) bool {
			return slices.ContainsFunc(group, func(n int) bool { return fates[n].action == a })
		}
		shared := restored
		switch allNew := !slices.ContainsFunc(group, func(n int) bool { return found[n] != store.New }); {
		case has(left):
			shared = left
		case has(kept) && allNew:
			shared = kept
		}
		for _, n := range group {
			fates[n].action = shared
		}
	}
	return fates
}

// onlyNewIsValid reports whether an item's old certificate has expired and its new one is
// valid.
func (c *committing) onlyNewIsValid(i item) bool {
	return c.oldExpired(i) && c.atLeastBegan().Before(i.New.NotAfter) && !c.atLeastBegan().Before(i.New.NotBefore)
}

// replacesExpired reports whether a third certificate is valid where the old one has expired.
func (c *committing) replacesExpired(i item, third *x509.Certificate) bool {
	return third != nil && c.oldExpired(i) && c.atLeastBegan().Before(third.NotAfter)
}

func (c *committing) oldExpired(i item) bool {
	return !c.atLeastBegan().Before(i.Certificate.NotAfter)
}

// atLeastBegan returns the current time, or the start of the commit if the clock was set back,
// as at a boot without a time server.
func (c *committing) atLeastBegan() time.Time {
	if now := c.now(); now.After(c.t.Began) {
		return now
	}
	return c.t.Began
}

// groupSharing groups items whose pairs share a file, such as one key of two certificates.
func (c *committing) groupSharing() [][]int {
	var groups [][]int
	files := make([][]string, len(c.t.Items))
	for n, i := range c.t.Items {
		files[n] = c.pairFiles(i.Certificate.Store)
		group := []int{n}
		groups = slices.DeleteFunc(groups, func(other []int) bool {
			joins := slices.ContainsFunc(other, func(m int) bool {
				return slices.ContainsFunc(files[n], func(f string) bool { return slices.Contains(files[m], f) })
			})
			if joins {
				group = append(group, other...)
			}
			return joins
		})
		groups = append(groups, group)
	}
	return groups
}

// pairFiles returns the real files of a pair, which is replaced as a whole. In a kubeconfig one
// user can be replaced without the others.
func (c *committing) pairFiles(s inventory.Store) (out []string) {
	if s.Kind == inventory.Kubeconfig {
		return nil
	}
	for _, path := range []string{s.Cert, s.Key} {
		if path == "" {
			continue
		}
		local, err := c.Root.LocalPath(path)
		if err != nil {
			local = filepath.Clean(path)
		}
		out = append(out, local)
	}
	return out
}

// namesOf lists the certificates of one fate.
func (c *committing) namesOf(a action) (names []string) {
	for n, f := range c.fates {
		if f.action == a {
			names = append(names, c.t.Items[n].Certificate.Name)
		}
	}
	return names
}

// usersOf returns the services that load a certificate of one fate.
func (c *committing) usersOf(a action) (out []certs.Service) {
	for n, f := range c.fates {
		if f.action == a {
			i := c.t.Items[n].Certificate
			out = append(append(out, i.Service), i.UsedBy...)
		}
	}
	return certs.SortServices(out)
}

// explainFates names the certificates that are not the old ones, with the reason.
func (c *committing) explainFates() string {
	var out []string
	if names := c.namesOf(kept); len(names) > 0 {
		var expired []string
		for n, f := range c.fates {
			if f.action == kept {
				expired = append(expired, c.t.Items[n].Certificate.NotAfter.UTC().Format(time.DateOnly))
			}
		}
		slices.Sort(expired)
		out = append(out, fmt.Sprintf("the new certificates of %s stay in place, since the old ones expired (%s)",
			strings.Join(names, ", "), strings.Join(slices.Compact(expired), ", ")))
	}
	if names := c.namesOf(left); len(names) > 0 {
		out = append(out, fmt.Sprintf("%s changed by another program since, and left unchanged", strings.Join(names, ", ")))
	}
	return strings.Join(out, "; ")
}
