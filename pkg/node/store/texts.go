package store

import (
	"errors"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// certText is the new content of a certificate's file: its chain, and everything else that it
// held. A copy of the key in it is replaced with the new key.
func (m Material) certText(old []byte) ([]byte, error) {
	if _, err := certs.ParsePEM(old); err != nil {
		return certs.EncodePEM(m.Chain...), nil
	}
	return certs.Splice{Chain: m.Chain, Key: &m.Key}.PutInto(old)
}

// keyText is the new content of a key's file: the key, and everything else that it held. A copy
// of the certificate in it is replaced with the new certificate; cert is the text of the
// certificate's own file.
func (m Material) keyText(old, cert []byte) ([]byte, error) {
	splice := certs.Splice{Key: &m.Key}
	if _, err := certs.ParseKeyPEM(old); err != nil {
		return m.Key.PEM()
	}
	beside, besideErr := certs.ParsePEM(old)
	chain, chainErr := certs.ParsePEM(cert)
	if besideErr == nil && chainErr == nil && (beside[0].Equal(chain[0]) || beside[0].Equal(m.Chain[0])) {
		splice.Chain = m.Chain[:min(len(beside), len(m.Chain))]
	}
	text, err := splice.PutInto(old)
	if err != nil {
		return nil, err
	}
	if key, err := certs.ParseKeyPEM(text); err != nil || !key.FitsCert(m.Chain[0]) {
		return nil, errors.New("the key cannot be replaced in this file without a change elsewhere")
	}
	return text, nil
}

// bothText is the new content of a file of certificate and key, with everything else that it
// held.
func (m Material) bothText(old []byte) ([]byte, error) {
	_, certErr := certs.ParsePEM(old)
	_, keyErr := certs.ParseKeyPEM(old)
	if certErr != nil || keyErr != nil {
		key, err := m.Key.PEM()
		if err != nil {
			return nil, err
		}
		return append(certs.EncodePEM(m.Chain...), key...), nil
	}
	text, err := certs.Splice{Chain: m.Chain, Key: &m.Key}.PutInto(old)
	if err != nil {
		return nil, err
	}
	if key, err := certs.ParseKeyPEM(text); err != nil || !key.FitsCert(m.Chain[0]) {
		return nil, errors.New("certificate and key cannot be replaced in this file without a change elsewhere")
	}
	return text, nil
}

// kubeconfigText is a kubeconfig with a user's certificate and key replaced. The PEM text of
// both keeps everything else that it held.
func (m Material) kubeconfigText(data []byte, user string) ([]byte, error) {
	u, err := kubeconfigUser(data, user)
	if err != nil {
		return nil, err
	}
	oldCert, err := u.decodeField(certField)
	if err != nil {
		return nil, err
	}
	oldKey, err := u.decodeField(keyField)
	if err != nil {
		return nil, err
	}
	certPEM, err := m.certText(oldCert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := m.keyText(oldKey, oldCert)
	if err != nil {
		return nil, err
	}
	return replaceInKubeconfig(data, user, certPEM, keyPEM)
}
