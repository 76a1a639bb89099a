# Run by CPack between install and packing: adds what belongs outside /usr, and only to a package. A plain
# `cmake --install --prefix P` writes nothing outside P.
cmake_path(SET deploy NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/..")
cmake_path(SET root "${CPACK_TEMPORARY_DIRECTORY}")
file(INSTALL "${deploy}/systemd/podfence.service" DESTINATION "${root}/lib/systemd/system")
file(INSTALL "${deploy}/systemd/agent.yaml" DESTINATION "${root}/etc/podfence")
file(INSTALL "${deploy}/../LICENSE" DESTINATION "${root}/usr/share/doc/podfence" RENAME copyright)
