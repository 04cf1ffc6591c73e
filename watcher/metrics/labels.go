package metrics

import (
	"math/big"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// nameFields are the parts of a distinguished name that have a label each.
var nameFields = [...]string{"CN", "C", "L", "O", "OU", "ST"}

var subjectLabels, issuerLabels = prefixedLabels("subject_"), prefixedLabels("issuer_")

func prefixedLabels(by string) (out [len(nameFields)]string) {
	for i, f := range nameFields {
		out[i] = by + f
	}
	return out
}

// label is a name with its value. A label without a value is omitted: to Prometheus that is
// the same.
type label struct{ name, value string }

// certificateLabels appends the labels of a certificate with a key on its node.
func certificateLabels(to []label, node string, c *v1alpha1.ReportedCertificate) []label {
	to = append(to, label{"node", node}, label{"service", string(c.Service)}, label{"name", c.Name})
	if c.User != "" {
		// The kind and key of the entry of a kubeconfig that embeds it.
		to = append(to, label{"embedded_kind", "user"}, label{"embedded_key", c.User})
	}
	return factLabels(to, c.Path, c.SerialNumber, c.Subject, c.Issuer)
}

// authorityLabels appends the labels of the certificate of a CA. A report does not have its
// issuer.
func authorityLabels(to []label, node string, a *v1alpha1.ReportedAuthority) []label {
	return factLabels(append(to, label{"node", node}, label{"name", a.Name}), a.Path, a.SerialNumber, a.Subject, "")
}

func factLabels(to []label, file, serial, subject, issuer string) []label {
	to = append(to, label{"filename", path.Base(file)}, label{"filepath", file}, label{"serial_number", decimalSerial(serial)})
	for i, value := range nameParts(subject) {
		to = append(to, label{subjectLabels[i], value})
	}
	for i, value := range nameParts(issuer) {
		to = append(to, label{issuerLabels[i], value})
	}
	return to
}

// decimalSerial converts a serial number from hexadecimal.
func decimalSerial(hex string) string {
	if n, err := strconv.ParseUint(hex, 16, 64); err == nil {
		return strconv.FormatUint(n, 10)
	}
	n, ok := new(big.Int).SetString(hex, 16)
	if !ok {
		return ""
	}
	return n.String()
}

// nameParts splits a name in the form of crypto/x509 (RFC 2253), in the order of nameFields.
// Several values of one field are joined by commas.
func nameParts(name string) (out [len(nameFields)]string) {
	for len(name) > 0 {
		end := 0
		for end < len(name) && name[end] != ',' && name[end] != '+' {
			if name[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end, len(name))
		field, value, ok := strings.Cut(name[:end], "=")
		name = name[min(end+1, len(name)):]
		i := slices.Index(nameFields[:], field)
		if !ok || i < 0 {
			continue
		}
		value = unescapeValue(value)
		if out[i] != "" {
			value = out[i] + "," + value
		}
		out[i] = value
	}
	return out
}

func unescapeValue(value string) string {
	if !strings.Contains(value, `\`) {
		return value
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) {
			i++
		}
		b.WriteByte(value[i])
	}
	return b.String()
}
