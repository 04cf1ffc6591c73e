package layout

import "testing"

func TestBackupOf(t *testing.T) {
	for name, original := range map[string]string{
		"admin.conf":                              "",
		"super-admin.conf":                        "",
		"admin.conf.old":                          "admin.conf",
		"admin.conf~":                             "admin.conf",
		"old-admin.conf":                          "admin.conf",
		"admin-2026-01-02.conf":                   "admin.conf",
		"admin.conf.3141.2026-01-02@03:04:05~":    "admin.conf",
		"apiserver.crt.2026-01-02T03:04:05+0100":  "apiserver.crt",
		"apiserver.crt.2026-01-02T03:04:05-05:00": "apiserver.crt",
		"apiserver (copy).crt":                    "apiserver.crt",
		"apiserver.crt (2)":                       "apiserver.crt",
		"apiserver.crt.rpmsave":                   "apiserver.crt",
	} {
		got, backup := BackupOf(name)
		if want := original != ""; backup != want || backup && got != original {
			t.Errorf("%q is a backup: %v, of %q; want %q", name, backup, got, original)
		}
	}
}
