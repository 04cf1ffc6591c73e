package settings

import (
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const introduction = `# Settings that name certificates and keys

Written by ` + "`UPDATE=1 go test ./pkg/settings`" + ` from the table that discovery and ` + "`--restart=if-needed`" + ` use: the settings of Kubernetes 1.30 to 1.37 and etcd 3.5 to 3.7 that name certificates, keys, CA bundles and kubeconfigs. etcd also reads each flag from the variable ` + "`ETCD_…`" + `.

*Verified by* is how the use of a new certificate is verified. *Restart* is the effect of ` + "`--restart=if-needed`" + `: a component that re-reads its files is not restarted, unless it shares the pair with another component, or the file is mounted into its container without its directory.

Keys of ServiceAccount tokens and signing keys are never replaced. If a certificate has the same key, the key is kept. Keys are compared by their public part, in all files.

Some certificates are in no file: the API server's loopback certificate (` + "`apiserver-loopback-client`" + `), and the serving certificates of a controller manager or scheduler without ` + "`--tls-cert-file`" + ` and ` + "`--cert-dir`" + `. They are made at the component's start, for one year (the loopback certificate for three since Kubernetes 1.33), and only a restart renews them. A scan lists their expiry. ` + "`--restart=if-needed`" + ` restarts a component if less than half of the life of its certificate in memory is left.
`

// WriteDocument returns docs/settings.md.
func WriteDocument() string {
	var b strings.Builder
	b.WriteString(introduction)
	for _, s := range certs.Services() {
		writeService(&b, s, RowsOf(s))
	}
	return b.String()
}

func writeService(b *strings.Builder, s certs.Service, rows []Setting) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n| setting | names | listed as | verified by | restart | may also be used by |\n|---|---|---|---|---|---|\n", s)
	var nothing []string
	for _, row := range rows {
		if row.Names == Nothing {
			nothing = append(nothing, fmt.Sprintf("`%s` (%s)", row.SettingName(), row.Note))
			continue
		}
		names := string(row.Names)
		if row.Note != "" {
			names += "; " + row.Note
		}
		if row.Key != "" {
			names += "; key: `" + row.Key + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", settingCell(row), names, listedAs(row), row.Verification, restartText(row), row.Holders)
	}
	if len(nothing) > 0 {
		fmt.Fprintf(b, "\nThese name no certificate and no key: %s.\n", strings.Join(nothing, ", "))
	}
}

func settingCell(row Setting) string {
	cell := "`" + row.SettingName() + "`"
	if row.Flag != "" && row.Field != "" && row.Field != row.Flag {
		cell += ", `" + row.Field + "`"
	}
	return cell
}

// isListed reports whether the row's certificates are listed and renewed.
func isListed(row Setting) bool { return row.Verification != "" }

func listedAs(row Setting) string {
	switch {
	case !isListed(row):
		return ""
	case row.Role == "":
		return "the file's name"
	}
	return row.Role
}

func restartText(row Setting) string {
	switch {
	case !isListed(row):
		return ""
	case row.Reloads != "":
		return "no: " + row.Reloads
	}
	return "yes"
}
