# Sourced in the build: makes Node trust the certificate authorities of docker/ca, beside its own.
for file in docker/ca/*.pem docker/ca/*.crt; do
  [ ! -f "$file" ] || cat "$file" >> /tmp/extra-ca.pem
done
[ ! -f /tmp/extra-ca.pem ] || export NODE_EXTRA_CA_CERTS=/tmp/extra-ca.pem
