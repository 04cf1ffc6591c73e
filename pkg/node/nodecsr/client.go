package nodecsr

import (
	"fmt"
	"path"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

const resource = "certificatesigningrequests"

// newClient makes a client for the one API group that is needed, from a kubeconfig
// on the host. client-go's whole clientset would register every API type at each
// start of the node program.
func newClient(root hostfs.Root, kubeconfig string) (*rest.RESTClient, error) {
	config, err := loadKubeconfig(root, kubeconfig)
	if err != nil {
		return nil, err
	}
	return restClient(config)
}

func restClient(config *rest.Config) (*rest.RESTClient, error) {
	scheme := runtime.NewScheme()
	if err := certificatesv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register API types: %w", err)
	}
	metav1.AddToGroupVersion(scheme, certificatesv1.SchemeGroupVersion)
	config = rest.CopyConfig(config)
	config.GroupVersion = &certificatesv1.SchemeGroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.Timeout = 10 * time.Second
	config.UserAgent = "rotate-certs-node"
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("prepare a client: %w", err)
	}
	return client, nil
}

// loadKubeconfig reads a kubeconfig and the files that it refers to, below root. Relative paths
// are relative to the kubeconfig, as everywhere.
func loadKubeconfig(root hostfs.Root, kubeconfig string) (*rest.Config, error) {
	data, err := root.ReadFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		// Its message could quote the file, which holds a key.
		return nil, fmt.Errorf("parse kubeconfig %q: it is not a valid kubeconfig", kubeconfig)
	}
	inline := func(file *string, data *[]byte) error {
		if *file == "" || len(*data) > 0 {
			*file = ""
			return nil
		}
		name := *file
		if !path.IsAbs(name) {
			name = path.Join(path.Dir(kubeconfig), name)
		}
		content, err := root.ReadFile(name)
		if err != nil {
			return fmt.Errorf("kubeconfig %q: %w", kubeconfig, err)
		}
		*file = ""
		*data = content
		return nil
	}
	for _, c := range config.Clusters {
		if err := inline(&c.CertificateAuthority, &c.CertificateAuthorityData); err != nil {
			return nil, err
		}
	}
	for _, u := range config.AuthInfos {
		if err := inline(&u.ClientCertificate, &u.ClientCertificateData); err != nil {
			return nil, err
		}
		if err := inline(&u.ClientKey, &u.ClientKeyData); err != nil {
			return nil, err
		}
		token := []byte(u.Token)
		if err := inline(&u.TokenFile, &token); err != nil {
			return nil, err
		}
		u.Token = string(token)
		if u.Exec != nil {
			return nil, fmt.Errorf("kubeconfig %q: user runs %q to authenticate, which is not available here", kubeconfig, u.Exec.Command)
		}
	}
	out, err := clientcmd.NewDefaultClientConfig(*config, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %q: %w", kubeconfig, err)
	}
	return out, nil
}
