package layout

import (
	"io/fs"
	"path"
	"regexp"
	"strings"
	"sync"
)

// backupEnding matches the suffixes that users, editors, package managers and Ansible append to
// the name of a copy: "~", ".old", ".bak", ".1", ".rpmsave", ".dpkg-old", "-backup",
// ".20260102", ".3141.2026-01-02@03:04:05~".
var backupEnding = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:~+|[-._ ](?:old|bak|bkp|bck|back|backup|orig|original|save|saved|copy|prev|previous|expired|disabled|swp|rpm(?:save|new|orig)|dpkg-[a-z]+|ucf-[a-z]+)[0-9]*|` +
		`[-._ ]?\((?:copy|[0-9]+)\)|[-._ ][0-9]{1,5}|[-._ ]?[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}(?:[-_.@tT ]?[0-9]{2}[-_.:h]?[0-9]{2}(?:[-_.:m]?[0-9]{2})?(?:[zZs]|[+-][0-9]{2}:?[0-9]{2})?)?|[-._ ][0-9]{10,14})$`)
})

// backupBeginning matches the prefixes of copies.
var backupBeginning = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:old|bak|backup|orig|copy|prev|previous|expired)[-._ ](?:of[-._ ])?`)
})

// BackupOf reports whether a file's name is that of a backup, and of which file: "admin.conf"
// for "admin.conf.old", for "admin-2026-01-02.conf" and for "old-admin.conf".
func BackupOf(name string) (original string, ok bool) {
	original = stripEndings(name)
	if ext := path.Ext(original); original == name && ext != "" {
		original = stripEndings(strings.TrimSuffix(name, ext)) + ext
	}
	rest := original[len(backupBeginning().FindString(original)):]
	if strings.TrimSuffix(rest, path.Ext(rest)) != "" && path.Ext(rest) == path.Ext(original) {
		original = rest
	}
	return original, original != name
}

// OriginalsFirst returns at most a number of a directory's entries. Where there are more, those
// with names of backups are left out first, of which years of them may lie beside the originals.
func OriginalsFirst(entries []fs.DirEntry, most int) []fs.DirEntry {
	if len(entries) <= most {
		return entries
	}
	originals := make([]fs.DirEntry, 0, len(entries))
	var backups []fs.DirEntry
	for _, e := range entries {
		if _, backup := BackupOf(e.Name()); backup {
			backups = append(backups, e)
		} else {
			originals = append(originals, e)
		}
	}
	return append(originals, backups...)[:most]
}

func stripEndings(name string) string {
	for {
		m := backupEnding().FindStringIndex(name)
		if m == nil || m[0] == 0 {
			return name
		}
		name = name[:m[0]]
	}
}

// backupDirectory matches the name of a directory for backups.
var backupDirectory = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[-._ ])(?:old|bak|bkp|backups?|orig|saved?|archive|copy|prev|previous|expired)(?:[-._ 0-9]|$)|[0-9]{4}[-_.]?[0-9]{2}[-_.]?[0-9]{2}|~$`)
})
